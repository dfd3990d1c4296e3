"""Dependencies of the figures of a subject. Figures are drawn again when any of them has changed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deconv import graph
from deconv.figures.picture import content_of, effect_of, weights_hash
from deconv.figures.registry import GROUPS
from deconv.figures.training_runs import read_runs
from deconv.graph import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

    from deconv.figures.subject import Subject

_PACKAGES = ("pillow", "scikit-learn", "tensorflow-datasets")
"""Packages whose version may change a figure, in addition to those in the provenance."""


def dependencies_of(subject: Subject, about: dict[str, Any]) -> list:
    """Everything that the figures depend on except for the runs.

    Args:
        subject: A `Subject`.
        about: `provenance` of the subject, with the hashes of its weights, images and preprocessing function.

    Returns:
        JSON-serialisable list.
    """
    options = [subject.fill, subject.square, subject.stride, subject.contrast, subject.classes, subject.trained_on]
    sets = [subject.data, subject.training, subject.held_out, subject.transfer]
    parts = None if subject.parts is None else Path(subject.parts).read_bytes().hex()
    others = [
        [*_network(other.model), _data(other.data), *_preprocessing(other.preprocess, other.data)]
        for other in subject.others
    ]
    scratch = subject.scratch if isinstance(subject.scratch, bool) else _sha256(subject.scratch)
    versions = [_version(package) for package in _PACKAGES]
    data = [_data(one) for one in sets]
    return [about, _code(), *_network(subject.model), options, data, parts, others, scratch, versions]


def runs_of(subject: Subject, recipe: str) -> tuple[dict[str, Any], list]:
    """Provenance of the finished runs that a recipe reads.

    Returns:
        `({group/name: part of its record}, files)`: the first for the provenance, the second to detect changed files.
        The dtype of the weights is included for packed runs, such as those that the package contains.
    """
    if subject.runs is None:
        return {}, []
    groups = {group: read_runs(subject.runs / group) for group in GROUPS.get(recipe, ())}
    members = ("arguments", "data", "versions")
    records = {
        f"{group}/{run.model_file.parent.name}": {name: run.record[name] for name in members if name in run.record}
        | {"weights_sha256": run.record["results"].get("weights_sha256")}
        | ({"packed": run.record["packed"]["dtype"]} if "packed" in run.record else {})
        for group, runs in groups.items()
        for run in runs
    }
    files = [file for runs in groups.values() for run in runs for file in (run.model_file, *run.checkpoints.values())]
    return records, [_stat(file) for file in files]


def _code() -> str:
    """SHA-256 of the source and data files of this package."""
    package = Path(__file__).resolve().parent.parent
    files = sorted(path for path in package.rglob("*") if path.suffix in (".py", ".json", ".csv"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _network(model: keras.Model) -> tuple[str, str]:
    """Identity of a network: its weights, its steps, and the source files of layers that are not part of Keras."""
    model_graph = graph.walk(model)
    homes = {type(step.layer).__module__ for step in model_graph.steps}
    files = {getattr(sys.modules.get(home), "__file__", None) for home in homes if home.partition(".")[0] != "keras"}
    digest = hashlib.sha256(fingerprint.architecture(model_graph, [step.name for step in model_graph.steps]).encode())
    for file in sorted(file for file in files if file and os.path.isfile(file)):
        digest.update(Path(file).read_bytes())
    return weights_hash(model), digest.hexdigest()


def _preprocessing(preprocess: Callable, data: Any) -> tuple[Any, str | None]:
    return fingerprint.of_function(preprocess), effect_of(preprocess, data)


def _data(data: Any) -> list | None:
    """Identity of a data set. It includes modification times of files, since large files are not hashed completely."""
    if data is None:
        return None
    known = [data.source, [int(side) for side in data.image_shape], content_of(data), list(data.class_names)]
    return [*known, hashlib.sha256(repr([_stat(file) for file in data.files]).encode()).hexdigest()]


def _sha256(file: str | os.PathLike) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _stat(file: str | os.PathLike) -> list:
    status = os.stat(file)
    return [os.path.basename(file), status.st_size, status.st_mtime_ns]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
