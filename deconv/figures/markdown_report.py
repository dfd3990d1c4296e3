"""Markdown report of the verdicts on the paper's claims for several folders of figures. It contains no images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deconv.figures.html_index import read_pictures, verdicts
from deconv.figures.published_results import Claim, Finding
from deconv.runtime.atomic_files import replacing

_MADE_OF = ("model", "weights", "data_source", "seed", "deconvnet", "tensorflow", "keras")


def write_results(
    path: str | os.PathLike, folders: Mapping[str, str | os.PathLike], title: str, text: str = ""
) -> None:
    """Write a Markdown page: the claims with one verdict per folder, then criteria, numbers and tables of each folder.

    Args:
        path: The Markdown file.
        folders: `{name: folder}`; the folders were written by `draw`.
        title: Heading of the page.
        text: Text below the heading.

    Raises:
        ValueError: If a folder contains no figures.
    """
    figures = {name: read_pictures(folder) for name, folder in folders.items()}
    for name, pictures in figures.items():
        if not pictures:
            raise ValueError(f"There are no figures with JSON files in '{folders[name]}'. Draw them first.")
    results = {name: verdicts(pictures) for name, pictures in figures.items()}
    rows = [
        [parts[0][0].place, parts[0][0].text, *("–" if part[1].seen is None else part[1].verdict for part in parts)]
        for parts in zip(*results.values(), strict=True)
    ]
    blocks = [f"# {title}", text, "## The claims", table_of(["where", "the paper's claim", *figures], rows)]
    for name, pictures in figures.items():
        blocks += [f"## {name}", _made_of(pictures), _decided(results[name])]
        for picture in pictures:
            for table in picture.get("tables", ()):
                blocks += [f"**{table['title']}** (`{picture['name']}`)", table_of(table["columns"], table["rows"])]
                blocks += [table["note"]]
    with replacing(Path(path)) as temporary:
        temporary.write_text("\n\n".join(filter(None, blocks)) + "\n", encoding="utf-8")


def table_of(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Format a Markdown table; None becomes a dash."""
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _decided(rows: Iterable[tuple[Claim, Finding, str | None]]) -> str:
    decided = [
        [claim.place, claim.text, finding.criterion, finding.verdict, finding.measured]
        for claim, finding, picture in rows
        if picture is not None
    ]
    return table_of(["where", "claim", "confirmed if", "here", "measured"], decided)


def _made_of(pictures: Sequence[dict[str, Any]]) -> str:
    about = pictures[0]["provenance"]
    return "Made of: " + "; ".join(f"{name}: {about[name]}" for name in _MADE_OF if name in about) + "."


def _cell(value: Any) -> str:
    return "–" if value is None or value == "" else " ".join(str(value).replace("|", "\\|").split())
