"""One page that shows all pictures of a folder; it needs no server and no network."""

import json
from importlib import resources
from pathlib import Path

from deconv.figures.record import replacing


def write_index(folder, title):
    """Write `index.html` over all pictures in a folder that have a JSON beside them.

    The paper's figures come first, then the others, each in the order in which they were made.

    Args:
        folder: Where the pictures are.
        title: Title of the page.
    """
    from jinja2 import Environment

    folder = Path(folder)
    files = sorted(folder.glob("*.json"), key=lambda path: (not path.name.startswith("fig"), path.stat().st_mtime_ns))
    found = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    pictures = [about for about in found if {"name", "title", "caption", "provenance"} <= about.keys()]
    source = resources.files("deconv.figures").joinpath("index.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True).from_string(source).render(title=title, pictures=pictures)
    with replacing(folder / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
