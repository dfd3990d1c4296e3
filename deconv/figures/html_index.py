"""One page that shows all pictures of a folder and what they say to the paper's claims; no server, no network."""

from importlib import resources
from pathlib import Path

from deconv.figures.published import CLAIMS, Finding
from deconv.runtime.atomic_files import replacing
from deconv.runtime.json_files import check_kind, check_members, read_object

_SAME = ("model", "weights_sha256", "data", "split", "images_sha256", "preprocess", "preprocess_effect")
"""What the pictures of one page have in common; of the last three older pictures say nothing."""


def write_index(folder, title, about=None):
    """Write `index.html` over all pictures in a folder that have a JSON beside them.

    First what became of each claim of the paper, then the paper's figures and tables in its order, then the others,
    each in the order in which they were made.

    Args:
        folder: Where the pictures are.
        title: Title of the page.
        about: Provenance of the subject whose page it is; pictures of another network or of other data are left out.
            None for all pictures.
    """
    from jinja2 import Environment

    pictures = [
        picture
        for picture in read_pictures(folder)
        if about is None or all(picture["provenance"].get(name, about[name]) == about[name] for name in _SAME)
    ]
    source = resources.files("deconv.figures").joinpath("index.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True).from_string(source)
    said = page.render(title=title, pictures=pictures, claims=verdicts(pictures))
    with replacing(Path(folder) / "index.html") as temporary:
        temporary.write_text(said, encoding="utf-8")


def read_pictures(folder):
    """What the JSON files of a folder say of its pictures: a list of dicts, the paper's figures and tables first.

    Files that are no such JSON are passed over.
    """
    files = [path for path in Path(folder).glob("*.json") if not path.name.startswith(".")]
    files.sort(key=lambda path: (_order(path.stem), path.stat().st_mtime_ns))
    return [about for about in map(_read, files) if about is not None]


def _read(path):
    """What a file says of a picture; None if it is anything else."""
    try:
        about = read_object(path, name=str, title=str, caption=str, provenance=dict)
        for finding in _listed(about, "findings"):
            check_members(finding, claim=str, seen=(bool, type(None)), criterion=str, measured=str)
        for table in _listed(about, "tables"):
            check_members(table, title=str, columns=list, rows=list)
            check_kind("'note'", table.setdefault("note", ""), str)
            for row in table["rows"]:
                check_kind("a row", row, list)
    except ValueError:
        return None
    return about


def _listed(about, name):
    check_kind(f"'{name}'", about.setdefault(name, []), list)
    return about[name]


def verdicts(pictures):
    """What became of every claim of the paper.

    Args:
        pictures: From `read_pictures`.

    Returns:
        For each claim in `CLAIMS` a tuple `(Claim, Finding, name of the picture or None)`. What nothing was drawn for
        cannot be tested.
    """
    found = {}
    for about in pictures:
        for finding in about["findings"]:
            said = Finding(**{name: finding[name] for name in Finding._fields})
            if said.claim not in found or found[said.claim][0].seen is None:
                found[said.claim] = said, about["name"]
    nothing = "", "nothing was drawn here that could decide it"
    return [(claim, *found.get(name, (Finding(name, None, *nothing), None))) for name, claim in CLAIMS.items()]


def _order(name):
    """The paper's figures, then its tables, then the others."""
    kinds = ("fig", "table")
    place = next((place for place, kind in enumerate(kinds) if name.startswith(kind)), len(kinds))
    number = name.removeprefix(kinds[place])[:1] if place < len(kinds) else ""
    return place, number if number.isdigit() else ""
