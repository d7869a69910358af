"""Published files of weights: where they are and under which license, as metafiles state it."""
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlparse

#: Keys of a metafile, one of which says where a file is. The first four can be fetched by a program.
KINDS = ('HuggingFace', 'URL', 'GoogleDrive', 'Package', 'Page', 'Unpublished')


@dataclass(frozen=True)
class PublishedWeights:
    """Published file of weights, or the statement that there is none.

    Attributes:
        kind: How it is published, one of :data:`KINDS`.
        address: Repository on Hugging Face, URL, id on Google Drive, Python package of PyPI, page on which a person
            finds it, or why there is none.
        place: Its place in the cache, a relative path: by address, because authors use one name for several files.
        file: Its name, on Hugging Face its path in the repository, in a package its path below
            site-packages; None if unknown.
        license: License as the authors state it, None if it is not known.
        sha256: SHA-256 that the publisher states, in lower case; None if not stated.
        converter: Its source as ``tools/model_converters/convert.py --from`` names it, None for weights of mmavs.
    """
    kind: str
    address: str
    place: str
    file: str | None = None
    license: str | None = None
    sha256: str | None = None
    converter: str | None = None

    @property
    def is_published(self) -> bool:
        """Whether there is a file."""
        return self.kind != 'Unpublished'

    @property
    def is_fetched(self) -> bool:
        """Whether a program can fetch it; a file on a page is found by a person."""
        return self.kind in KINDS[:4]

    @property
    def where(self) -> str:
        """Its address as a URL for the browser, or why there is none."""
        if self.kind == 'HuggingFace':
            return f'https://huggingface.co/{self.address}/resolve/main/{self.file}'
        if self.kind == 'GoogleDrive':
            return f'https://drive.google.com/file/d/{self.address}'
        if self.kind == 'Package':
            return f'https://pypi.org/project/{self.address}'
        return self.address


def read_published(entry: Mapping | str, converter: str | None, owner: str) -> PublishedWeights:
    """Read the key ``Weights`` of a metafile.

    Args:
        entry: Value of the key; a URL alone is OpenMMLab's form for weights that need no conversion.
        converter: Source of the file, None for weights of mmavs.
        owner: Name of the model or backbone.

    Raises:
        TypeError: A key is missing, unknown or of another type; the message says which.
    """
    entry = dict(URL=entry) if isinstance(entry, str) else entry
    kinds = [kind for kind in KINDS if kind in entry]
    unknown = sorted(entry.keys() - {*KINDS, 'File', 'License', 'SHA256'})
    if len(kinds) != 1 or unknown:
        raise TypeError(f"Weights: found the keys {', '.join(entry)}, expected one of {', '.join(KINDS)} and, if "
                        'known, File, License and SHA256')
    kind, file, sha256 = kinds[0], entry.get('File'), entry.get('SHA256')
    address = entry[kind]
    if not isinstance(sha256, str | None):
        raise TypeError(f'SHA256 {sha256}: write it in quotes, YAML reads a number')
    if kind in ('HuggingFace', 'Package') and not file:
        raise TypeError(f'Weights: {kind}: {address} lacks File, the path in the '
                        f"{'repository' if kind == 'HuggingFace' else 'package'}")
    if kind == 'URL':
        parts = urlparse(address)
        file = file or parts.path.rpartition('/')[2]
        place = f"{parts.netloc.replace(':', '_')}{parts.path}"
    elif kind == 'HuggingFace':
        place = f'huggingface.co/{address}/{file}'
    elif kind == 'Package':
        place = f'pypi.org/{file}'
    else:
        place = f'drive.google.com/{address}.pth' if kind == 'GoogleDrive' else f"by_hand/{file or f'{owner}.pth'}"
    return PublishedWeights(kind, address, place, file, entry.get('License'), sha256 and sha256.lower(), converter)
