"""Markdown report of the verdicts on the paper's claims for several folders of figures. It contains no images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deconv.figures.html_index import read_pictures, verdicts
from deconv.figures.published_results import CLAIMS, Claim, Finding
from deconv.runtime.atomic_files import replacing

_MADE_OF = ("model", "weights", "data_source", "seed", "deconvnet", "tensorflow", "keras")


def write_results(
    path: str | os.PathLike,
    folders: Mapping[str, str | os.PathLike],
    title: str,
    text: str = "",
    *,
    keep: str | os.PathLike | None = None,
    against: str | None = None,
) -> None:
    """Write a Markdown page: the claims with one verdict per folder, then criteria, numbers and tables of each folder.

    Args:
        path: The Markdown file.
        folders: `{name: folder}`; the folders were written by `draw`.
        title: Heading of the page.
        text: Text below the heading.
        keep: A page that this function has written. Its columns and sections precede those of the folders; a folder of
            the same name replaces them. None for none.
        against: Name of a column; for each folder the page lists the claims whose verdict differs from the one there.
            None for no list.

    Raises:
        ValueError: If a folder contains no figures, `keep` is no such page, or there is no column `against`.
    """
    figures = {name: read_pictures(folder) for name, folder in folders.items()}
    for name, pictures in figures.items():
        if not pictures:
            raise ValueError(f"There are no figures with JSON files in '{folders[name]}'. Draw them first.")
    results = {name: verdicts(pictures) for name, pictures in figures.items()}
    columns, sections = ({}, {}) if keep is None else kept(Path(keep).read_text(encoding="utf-8"), str(keep))
    for name, rows in results.items():
        columns[name] = ["–" if finding.seen is None else finding.verdict for _, finding, _ in rows]
    if against is not None and against not in columns:
        raise ValueError(f"There is no column {against!r} to compare with; there are {', '.join(map(repr, columns))}.")
    claims = [[claim.place, claim.text] for claim in CLAIMS.values()]
    table = [[*claim, *row] for claim, row in zip(claims, zip(*columns.values(), strict=True), strict=True)]
    for name, pictures in figures.items():
        blocks = [f"## {name}", _made_of(pictures), _decided(results[name])]
        for picture in pictures:
            for each in picture.get("tables", ()):
                blocks += [f"**{each['title']}** (`{picture['name']}`)", table_of(each["columns"], each["rows"])]
                blocks += [each["note"]]
        sections[name] = "\n\n".join(filter(None, blocks))
    head = [f"# {title}", text, "## The claims", table_of(["where", "the paper's claim", *columns], table)]
    with replacing(Path(path)) as temporary:
        blocks = [*head, _summary(columns, against, [*folders]), *sections.values()]
        temporary.write_text("\n\n".join(filter(None, blocks)) + "\n", encoding="utf-8")


def kept(page: str, name: str) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Read a page that `write_results` has written.

    Args:
        page: Text of the page.
        name: Name of the page, for the message.

    Returns:
        `({column: verdicts}, {column: its section})`.

    Raises:
        ValueError: If the text is no such page, or was written for other claims.
    """
    head, *parts = page.rstrip().split("\n## ")
    lines = [line for line in (parts or [""])[0].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    known = [[claim.place, claim.text] for claim in CLAIMS.values()]
    if not head.startswith("# ") or not cells or [row[:2] for row in cells[2:]] != known:
        raise ValueError(
            f"'{name}' is not a page of results with the {len(known)} claims. Write it anew, without --keep."
        )
    columns = {column: [row[place] for row in cells[2:]] for place, column in enumerate(cells[0]) if place > 1}
    sections = {part.partition("\n")[0]: f"## {part}" for part in parts[1:]}
    return columns, sections


def _summary(columns: Mapping[str, Sequence[str]], against: str | None, compared: Sequence[str]) -> str:
    """Count the verdicts of each column, and list for those compared the claims that differ from `against`."""
    lines = []
    for name, found in columns.items():
        counts = [sum(verdict == each for verdict in found) for each in ("confirmed", "not confirmed", "–")]
        line = "{}: {} confirmed, {} not confirmed, {} cannot be tested.".format(name, *counts)
        if against is not None and name != against and name in compared:
            changed = [
                f"{claim.place}, {claim.text.rstrip('.')}: {before} → {now}"
                for claim, before, now in zip(CLAIMS.values(), columns[against], found, strict=True)
                if before != now and "–" not in (before, now)
            ]
            line += f" Other than for {against}: {'; '.join(changed) or 'none'}."
        lines.append(f"- {line}")
    return "\n".join(lines)


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
