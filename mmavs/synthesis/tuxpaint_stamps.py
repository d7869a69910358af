"""Choose cut-outs among the stamps of Tux Paint (Debian: tuxpaint-stamps-default), and give classes and sizes."""
import os
import re
from pathlib import Path

#: Where the stamps are in an installed or unpacked package.
STAMPS = Path('usr/share/tuxpaint/stamps')
# Directories of symbols and drawings, at any depth, and of flowers, which would be as large as animals.
_UNUSED = {'cartoon', 'clothes', 'flowers', 'military', 'naturalforces', 'seasonal', 'space', 'symbols', 'town', 'toys'}
# Drawings that their .dat files do not declare as such, and a car whose body is transparent.
_UNUSED_FILES = {'pizza', 'sedan_police'}
# Directories of things that are not animals: photographs without a recording are silent objects. The longest side in
# meters, as in the table below. Animals without a recording are not used, because many look like those with one.
_SILENT = dict(food=0.2, hobbies=0.7, household=0.5, plants=0.3, sports=0.3, vehicles=3.0)
# Recordings of a spoken name (NAME_desc, NAME_desc_fr, NAME_es), and copies that are mirrored.
_SPEECH = re.compile(r'_desc(_\w+)?$|_[a-z]{2}(_[A-Z]{2})?$')
_COPY = re.compile(r'_(mirror|flip)$')
# File name, class, longest side in meters, place. Files of one class are its instances. A name that is not listed is
# its own class, 1 m, on the ground.
_TABLE = """
badger               badger        0.8  ground
bassoon              bassoon       1.3  held
bear                 bear          2.0  ground
beaver               beaver        0.9  ground
bison                cow           2.8  ground
blackbird            blackbird     0.3  ground
bull                 cow           2.4  ground
camel                camel         2.6  ground
camera_35mm          camera        0.2  held
caribou              deer          2.0  ground
cello                cello         1.3  held
chimp                chimpanzee    1.2  ground
cow                  cow           2.3  ground
cow_white            cow           2.0  ground
crow                 crow          0.5  ground
cuckoo               cuckoo        0.4  air
cymbal_crash         cymbal        0.5  held
deer                 deer          1.8  ground
doe                  deer          1.5  ground
dog                  dog           1.0  ground
dolphin              dolphin       2.2  water
donkey               horse         1.7  ground
drake                duck          0.5  ground
dromedary            camel         2.6  ground
drum_tomtom_floor    drum          0.7  ground
drumkit              drum          1.6  ground
duck                 duck          0.5  ground
elephant             elephant      4.0  ground
ferret               ferret        0.5  ground
firetruck            fire-engine   8.0  ground
fox                  fox           0.9  ground
frog                 frog          0.2  ground
gander               duck          0.8  ground
giraffe              giraffe       4.5  ground
goat                 goat          1.2  ground
gorilla              gorilla       1.7  ground
grasshopper          grasshopper   0.1  ground
hammer               hammer        0.4  held
hen                  chicken       0.4  ground
heron_greatblue_flying heron       1.2  air
hippopotamus         hippopotamus  3.0  ground
hornet               hornet        0.1  air
horse                horse         2.3  ground
iguana               iguana        1.0  ground
kettle               kettle        0.3  ground
koala                koala         0.7  ground
lark                 lark          0.3  ground
lion                 big-cat       2.0  ground
mallet_metal         hammer        0.5  held
mountaingoat         goat          1.3  ground
mouse                mouse         0.1  ground
nandou               rhea          1.4  ground
orca                 orca          4.0  water
owl                  owl           0.5  ground
penguin              penguin       1.0  ground
pig                  pig           1.4  ground
pig_golden           pig           1.3  ground
pig_golden2          pig           1.4  ground
quetzal              quetzal       0.8  air
rabbit               rabbit        0.5  ground
ram                  sheep         1.3  ground
rooster              chicken       0.6  ground
rubberduck           rubber-duck   0.2  ground
saw                  saw           0.6  held
sea_lion             sea-lion      2.0  ground
seagull              seagull       0.9  air
sheep                sheep         1.3  ground
sheep_lamb           sheep         0.7  ground
squirrel             squirrel      0.4  ground
tiger                big-cat       2.2  ground
toilet               toilet        0.8  ground
tucan                toucan        0.7  air
turkey               turkey        1.0  ground
violin               violin        0.6  held
vulture              vulture       1.0  ground
whale                whale         6.0  water
wombat               wombat        0.9  ground
xanthia              moth          0.1  air
zebra                horse         2.1  ground
"""
ATTRIBUTES = {name: (category, float(size), place)
              for name, category, size, place in (line.split() for line in _TABLE.split('\n') if line)}


def find_stamps(directory: str | Path) -> Path | None:
    """Root of the stamps in the directory of an installed or unpacked package, None if there is none."""
    for place in ('', STAMPS, 'tuxpaint/stamps', 'stamps'):
        root = Path(directory, place)
        if (root / 'animals').is_dir():
            return root
    return None


def list_stamps(root: Path) -> list[dict]:
    """Rows as in the CSV file of :func:`read_cutouts`, by the rules of the layout.

    - NAME.png beside NAME.ogg or NAME.wav is a cut-out of the class in the table above.
    - NAME.png without a recording, in a directory of things, is a silent object.
    - NAME.ogg or NAME.wav without an image is off-screen audio, unless it is speech (NAME_desc, NAME_es).
    - Left out are the directories of drawings, and drawings elsewhere, which NAME.dat calls tintable or colorable.
    """
    stems: dict[Path, dict[str, str]] = {}
    for directory, children, names in os.walk(root):
        children[:] = sorted(set(children) - _UNUSED)
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix in ('.png', '.ogg', '.wav') and stem not in _UNUSED_FILES and not _SPEECH.search(stem):
                path = Path(directory, stem).relative_to(root)
                key = 'image' if suffix == '.png' else 'audio'
                stems.setdefault(path, {})[key] = f'{path.as_posix()}{suffix}'
    rows = []
    for stem, files in stems.items():
        details = (root / stem).with_suffix('.dat')
        drawn = details.is_file() and re.search('tint|colorable', details.read_text(errors='replace'))
        if 'image' in files and 'audio' in files and not drawn:
            category, size, place = ATTRIBUTES.get(stem.name, (stem.name.replace('_', '-').lower(), 1.0, 'ground'))
        elif 'image' in files and 'audio' not in files and stem.parts[0] in _SILENT and not drawn:
            if _COPY.search(stem.name):
                continue
            category, size, place = '', _SILENT[stem.parts[0]], 'ground'
        elif 'audio' in files:
            files, category, size, place = dict(audio=files['audio']), '', 1.0, 'ground'
        else:
            continue
        rows.append(dict(image=files.get('image', ''), audio=files.get('audio', ''), size=str(size), place=place,
                         **{'class': category}))
    return rows
