"""One page that shows all pictures of a folder; it needs no server and no network."""

from importlib import resources
from pathlib import Path

from deconv.figures.record import replacing


def write_index(folder, title, pictures, provenance):
    """Write `index.html`.

    Args:
        folder: Where the pictures are.
        title: Title of the page.
        pictures: Dicts with name, title and caption, as `save` returns them.
        provenance: Dict that says what the pictures are made of.
    """
    from jinja2 import Environment

    source = resources.files("deconv.figures").joinpath("index.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True).from_string(source)
    with replacing(Path(folder) / "index.html") as temporary:
        temporary.write_text(page.render(title=title, pictures=pictures, provenance=provenance), encoding="utf-8")
