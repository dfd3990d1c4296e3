"""Static HTML page with all figures of a folder and the verdicts on the paper's claims. It needs no server."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from deconv.figures.published_results import CLAIMS, Claim, Finding
from deconv.runtime.atomic_files import replacing
from deconv.runtime.json_files import check_kind, check_members, read_object

_SAME = ("model", "weights_sha256", "data", "split", "images_sha256", "preprocess", "preprocess_effect")
"""Provenance entries shared by all figures of one page. Older figures lack the last three."""


def write_index(folder: str | os.PathLike, title: str, about: dict[str, Any] | None = None) -> None:
    """Write `index.html` with all figures in a folder that have a JSON file.

    The page lists the verdict on each claim of the paper, then the paper's figures and tables in its order, then the
    other figures; the figures of each in the order in which they were drawn.

    Args:
        folder: Folder of the figures.
        title: Title of the page.
        about: Provenance of the subject of the page; figures of another network or of other data are left out. None to
            include all figures.
    """
    from jinja2 import Environment

    pictures = [
        picture
        for picture in read_pictures(folder)
        if about is None or all(picture["provenance"].get(name, about[name]) == about[name] for name in _SAME)
    ]
    source = resources.files("deconv.figures").joinpath("index.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True).from_string(source)
    html = page.render(title=title, pictures=pictures, claims=verdicts(pictures))
    with replacing(Path(folder) / "index.html") as temporary:
        temporary.write_text(html, encoding="utf-8")


def read_pictures(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """Read the JSON files of a folder: a list of dicts, one per figure, the paper's figures and tables first.

    Other JSON files are skipped.
    """
    files = [path for path in Path(folder).glob("*.json") if not path.name.startswith(".")]
    files.sort(key=lambda path: (_order(path.stem), path.stat().st_mtime_ns))
    return [about for about in map(_read, files) if about is not None]


def _read(path: Path) -> dict[str, Any] | None:
    """Content of the JSON file of a figure; None for any other file."""
    try:
        about = read_object(path, name=str, title=str, caption=str, provenance=dict)
        for finding in _list_of(about, "findings"):
            check_members(finding, claim=str, seen=(bool, type(None)), criterion=str, measured=str)
        for table in _list_of(about, "tables"):
            check_members(table, title=str, columns=list, rows=list)
            check_kind("'note'", table.setdefault("note", ""), str)
            for row in table["rows"]:
                check_kind("a row", row, list)
    except ValueError:
        return None
    return about


def _list_of(about: dict[str, Any], name: str) -> list:
    check_kind(f"'{name}'", about.setdefault(name, []), list)
    return about[name]


def verdicts(pictures: Iterable[dict[str, Any]]) -> list[tuple[Claim, Finding, str | None]]:
    """Collect the verdict on every claim of the paper.

    Args:
        pictures: Result of `read_pictures`.

    Returns:
        For each claim in `CLAIMS` a tuple `(Claim, Finding, name of the figure or None)`. A claim without a figure is
        reported as not testable.
    """
    decided: dict[str, tuple[Finding, str]] = {}
    for about in pictures:
        for finding in about["findings"]:
            result = Finding(**{name: finding[name] for name in Finding._fields})
            if result.claim not in decided or decided[result.claim][0].seen is None:
                decided[result.claim] = result, about["name"]
    untested = "", "no figure drawn here tests this claim"
    return [(claim, *decided.get(name, (Finding(name, None, *untested), None))) for name, claim in CLAIMS.items()]


def _order(name: str) -> tuple[int, str]:
    """Sort key: the paper's figures, then its tables, then other figures."""
    kinds = ("fig", "table")
    place = next((place for place, kind in enumerate(kinds) if name.startswith(kind)), len(kinds))
    number = name.removeprefix(kinds[place])[:1] if place < len(kinds) else ""
    return place, number if number.isdigit() else ""
