"""Drawing of recipes into a folder. Finished recipes are cached, so that an interrupted run can be continued."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from deconv.figures.figure_dependencies import dependencies_of, runs_of
from deconv.figures.html_index import write_index
from deconv.figures.picture import Picture, provenance, save
from deconv.figures.registry import ALSO_CALLED, RECIPES
from deconv.figures.subject import Subject
from deconv.runtime.atomic_files import locked, replacing
from deconv.runtime.json_files import check_kind, check_members, read_object

_FINISHED = "finished.json"


def chosen(names: Iterable[str] | None) -> list[str]:
    """Names of the recipes to draw, in drawing order; all recipes if `names` is None or empty.

    Raises:
        ValueError: If a name is unknown.
    """
    unknown = sorted(set(names or ()) - {*RECIPES, *ALSO_CALLED})
    if unknown:
        known = ", ".join([*RECIPES, *ALSO_CALLED])
        raise ValueError(f"There is no recipe {', '.join(map(repr, unknown))}; there are {known}.")
    wanted = {ALSO_CALLED.get(name, name) for name in names or RECIPES}
    return [name for name in RECIPES if name in wanted]


def draw(
    subject: Subject,
    folder: str | os.PathLike,
    recipes: Iterable[str] | None = None,
    *,
    title: str | None = None,
    anew: bool = False,
    progress: bool = False,
) -> dict[str, list[str]]:
    """Draw recipes of a subject: PNG, PDF and JSON of every figure, and an index page with all figures.

    A finished recipe is not drawn again if the network, preprocessing function, images, runs, seed and code are
    unchanged, so that an interrupted call continues with the next recipe. A preprocessing function is identified by
    its name and its output for two noise images. Images are identified by their content (of large data only a part),
    and image files also by their names, sizes and modification times.

    Args:
        subject: A `Subject`.
        folder: Output folder; it must exist.
        recipes: Recipe names as in `RECIPES`, or names of figures or tables of the paper; None for all.
        title: Title of the index page; None for a default title.
        anew: Whether to draw finished recipes again.
        progress: Whether to show a progress bar.

    Returns:
        `{recipe: names of its figures}`; an empty list for a recipe that does not apply to the subject.

    Raises:
        ValueError: If a name is unknown, the data do not fit a recipe, or another process draws into the folder.
        OSError: If a file cannot be written; the message names it.
    """
    with locked(folder):
        return _draw(subject, Path(folder), recipes, title, anew, progress)


def _draw(
    subject: Subject,
    folder: Path,
    recipes: Iterable[str] | None,
    title: str | None,
    anew: bool,
    progress: bool,
) -> dict[str, list[str]]:
    from tqdm import tqdm

    drawn: dict[str, list[str]] = {}
    about = provenance(subject)
    dependencies = dependencies_of(subject, about)
    finished = _read(folder / _FINISHED)
    try:
        with tqdm(chosen(recipes), unit=" recipes", disable=None if progress else True) as bar:
            for recipe in bar:
                bar.set_postfix_str(recipe)
                entry, (runs, files) = finished.get(recipe, {}), runs_of(subject, recipe)
                key = hashlib.sha256(json.dumps([dependencies, runs, files]).encode()).hexdigest()
                if anew or entry.get("made_of") != key or not _complete(folder, entry["pictures"]):
                    origin = {**about, "runs": runs} if runs else about
                    names = [_save(picture, folder, origin) for picture in _run(recipe, subject)]
                    entry = finished[recipe] = {"made_of": key, "pictures": names}
                    _write(folder / _FINISHED, finished)
                drawn[recipe] = entry["pictures"]
    finally:
        title = title or f"What every layer of {subject.model.name} looks for, in {subject.data.name}"
        if finished or (folder / "index.html").exists():
            write_index(folder, title, about)
    return drawn


def _run(recipe: str, subject: Subject) -> Iterator[Picture]:
    return RECIPES[recipe](subject)


def _save(picture: Picture, folder: Path, about: dict[str, Any]) -> str:
    save(picture, folder, about)
    return picture.name


def _complete(folder: Path, names: Iterable[str]) -> bool:
    return all((folder / f"{name}.{ending}").exists() for name in names for ending in ("png", "pdf", "json"))


def _read(path: Path) -> dict[str, Any]:
    try:
        finished = read_object(path)
        for entry in finished.values():
            check_members(entry, made_of=str, pictures=list)
            for name in entry["pictures"]:
                check_kind("a picture", name, str)
    except ValueError:  # missing, or not written by this module: nothing is finished
        return {}
    return finished


def _write(path: Path, finished: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(finished) + "\n", encoding="utf-8")
