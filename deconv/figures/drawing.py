"""Recipes drawn into a folder: one after the other, each finished one kept for the next time."""

import hashlib
import json
from pathlib import Path

from deconv.figures.index import write_index
from deconv.figures.recipes import ALSO_CALLED, GROUPS, RECIPES
from deconv.figures.record import provenance, replacing, save, weights_hash
from deconv.figures.runs import read_runs

_FINISHED = "finished.json"


def chosen(names):
    """Names of recipes, in the order in which they are drawn; all for none given.

    Raises:
        ValueError: If a name is unknown.
    """
    unknown = sorted(set(names or ()) - {*RECIPES, *ALSO_CALLED})
    if unknown:
        known = ", ".join([*RECIPES, *ALSO_CALLED])
        raise ValueError(f"There is no recipe {', '.join(map(repr, unknown))}; there are {known}.")
    wanted = {ALSO_CALLED.get(name, name) for name in names or RECIPES}
    return [name for name in RECIPES if name in wanted]


def draw(subject, folder, recipes=None, *, title=None, anew=False, progress=False):
    """Draw recipes of a subject: PNG, PDF and JSON of every picture, and a page that shows them all.

    A recipe that is finished is kept if it was made of the same network, data, runs, seed and code, so that what was
    interrupted goes on with the next recipe.

    Args:
        subject: A `Subject`.
        folder: Where to; it must exist.
        recipes: Names as in `RECIPES` or of a figure or table of the paper; None for all.
        title: Title of the page.
        anew: Whether to draw what is finished too.
        progress: Whether to show a progress bar.

    Returns:
        `{recipe: names of its pictures}`; no pictures for a recipe that does not apply.

    Raises:
        ValueError: If a name is unknown, or a recipe finds its data unfit.
    """
    from tqdm import tqdm

    folder, drawn = Path(folder), {}
    about = provenance(subject)
    made_of = _made_of(subject, about)
    finished = _read(folder / _FINISHED)
    try:
        with tqdm(chosen(recipes), unit=" recipes", disable=None if progress else True) as bar:
            for recipe in bar:
                bar.set_postfix_str(recipe)
                entry, runs = finished.get(recipe, {}), _runs_of(subject, recipe)
                key = hashlib.sha256(json.dumps([made_of, runs]).encode()).hexdigest()
                if anew or entry.get("made_of") != key or not _all_there(folder, entry["pictures"]):
                    origin = {**about, "runs": runs} if runs else about
                    names = [_saved(picture, folder, origin) for picture in _run(recipe, subject)]
                    entry = finished[recipe] = {"made_of": key, "pictures": names}
                    _write(folder / _FINISHED, finished)
                drawn[recipe] = entry["pictures"]
    finally:
        title = title or f"What every layer of {subject.model.name} looks for, in {subject.data.name}"
        if finished or (folder / "index.html").exists():
            write_index(folder, title, about)
    return drawn


def _run(recipe, subject):
    return RECIPES[recipe](subject)


def _saved(picture, folder, about):
    save(picture, folder, about)
    return picture.name


def _all_there(folder, names):
    return all((folder / f"{name}.{ending}").exists() for name in names for ending in ("png", "pdf", "json"))


def _made_of(subject, about):
    """Everything that the pictures depend on, but for the runs."""
    package = Path(__file__).resolve().parent.parent
    files = sorted(path for path in package.rglob("*") if path.suffix in (".py", ".json", ".csv"))
    code = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    options = [subject.fill, subject.square, subject.stride, subject.contrast, subject.classes]
    sets = [
        None if data is None else [data.source, data.image_shape]
        for data in (subject.training, subject.held_out, subject.transfer)
    ]
    parts = None if subject.parts is None else Path(subject.parts).read_bytes().hex()
    others = [weights_hash(other.model) for other in subject.others]
    return [about, code, options, subject.data.image_shape, sets, parts, others]


def _runs_of(subject, recipe):
    """What the finished runs that a recipe reads were made of: `{group/name: part of its record}`."""
    if subject.runs is None:
        return {}
    groups = {group: read_runs(subject.runs / group) for group in GROUPS.get(recipe, ())}
    told = ("arguments", "data", "versions")
    return {
        f"{group}/{run.model_file.parent.name}": {name: run.record[name] for name in told if name in run.record}
        | {"weights_sha256": run.record["results"].get("weights_sha256")}
        for group, runs in groups.items()
        for run in runs
    }


def _read(path):
    try:
        finished = json.loads(path.read_text(encoding="utf-8"))
        return {
            recipe: {"made_of": str(one["made_of"]), "pictures": list(one["pictures"])}
            for recipe, one in finished.items()
        }
    except (OSError, ValueError, AttributeError, TypeError, KeyError):  # not there, or not ours: nothing is finished
        return {}


def _write(path, finished):
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(finished) + "\n", encoding="utf-8")
