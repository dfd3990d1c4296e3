"""Markdown report of the verdicts on the paper's claims for several folders of figures. It contains no images."""

from pathlib import Path

from deconv.figures.html_index import read_pictures, verdicts
from deconv.runtime.atomic_files import replacing

_MADE_OF = ("model", "weights", "data_source", "seed", "deconvnet", "tensorflow", "keras")


def write_results(path, folders, title, text=""):
    """Write a Markdown page: the claims with one verdict per folder, then criteria, numbers and tables of each folder.

    Args:
        path: The Markdown file.
        folders: `{name: folder}`; the folders were written by `draw`.
        title: Heading of the page.
        text: Text below the heading.

    Raises:
        ValueError: If a folder contains no figures.
    """
    found = {name: read_pictures(folder) for name, folder in folders.items()}
    for name, pictures in found.items():
        if not pictures:
            raise ValueError(f"There are no pictures with their JSON in '{folders[name]}'. Draw them first.")
    said = {name: verdicts(pictures) for name, pictures in found.items()}
    rows = [
        [parts[0][0].place, parts[0][0].text, *("–" if part[1].seen is None else part[1].verdict for part in parts)]
        for parts in zip(*said.values(), strict=True)
    ]
    blocks = [f"# {title}", text, "## The claims", table_of(["where", "the paper's claim", *found], rows)]
    for name, pictures in found.items():
        blocks += [f"## {name}", _made_of(pictures), _decided(said[name])]
        for picture in pictures:
            for table in picture.get("tables", ()):
                blocks += [f"**{table['title']}** (`{picture['name']}`)", table_of(table["columns"], table["rows"])]
                blocks += [table["note"]]
    with replacing(Path(path)) as temporary:
        temporary.write_text("\n\n".join(filter(None, blocks)) + "\n", encoding="utf-8")


def table_of(columns, rows):
    """Format a Markdown table; None becomes a dash."""
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _decided(rows):
    decided = [
        [claim.place, claim.text, finding.criterion, finding.verdict, finding.measured]
        for claim, finding, picture in rows
        if picture is not None
    ]
    return table_of(["where", "claim", "seen if", "here", "measured"], decided)


def _made_of(pictures):
    about = pictures[0]["provenance"]
    return "Made of: " + "; ".join(f"{name}: {about[name]}" for name in _MADE_OF if name in about) + "."


def _cell(value):
    return "–" if value is None or value == "" else " ".join(str(value).replace("|", "\\|").split())
