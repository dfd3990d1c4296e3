"""Trained networks to compare, read from folders of the training scripts, or packed by `scripts/pack_runs.py`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import keras

from deconv.figures.packed_networks import check_packed, load_packed
from deconv.runtime.error_messages import reason
from deconv.runtime.json_files import check_kind, check_members, read_object
from deconv.runtime.short_repr import short_repr

_PARTS: dict[str, dict[str, Any]] = {
    "variant": {"name": str, "place": int, "row": str, "change": (str, dict)},
    "data": {"train": str, "train_size": int, "test": str, "test_size": int},
    "arguments": {},
    "versions": {},
}
"""Expected types of the members of a record; members may be missing."""


class Run(NamedTuple):
    """A finished training run.

    Attributes:
        name: Short description that distinguishes the network.
        record: Content of `training.json`: `arguments`, `data`, `versions`, `results`, `variant` for a variant, and
            `packed` for a packed run.
        model_file: File of the trained network: `.keras`, or `.npz` of a packed run.
        checkpoints: `{epoch: file}`, in ascending order.
    """

    name: str
    record: dict[str, Any]
    model_file: Path
    checkpoints: dict[int, Path]

    def __repr__(self) -> str:
        return short_repr(self)

    def model(self, epoch: int | None = None) -> keras.Model:
        """Load the network. Layer classes that are not part of Keras must have been imported.

        Args:
            epoch: The epoch of a checkpoint; None for the end of the training.

        Raises:
            ValueError: If the file cannot be read.
        """
        file = self.model_file if epoch is None else self.checkpoints[epoch]
        if "packed" in self.record:
            return load_packed(file, self.record["packed"])
        try:
            return keras.saving.load_model(file, compile=False)
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"The network '{file}' cannot be read ({reason(error)}). Train it again.") from None


def data_of(run: Run) -> dict[str, Any]:
    """Training and test data of a run: the member `data` of its record, a dict.

    Raises:
        ValueError: If the record does not contain it.
    """
    try:
        check_members(run.record, data=dict)
        check_members(run.record["data"], **_PARTS["data"])
    except ValueError as error:
        file = run.model_file.with_name("training.json")
        raise ValueError(f"'{file}' does not name the training data of the network: {error}. Train it again.") from None
    return run.record["data"]


def read_run(folder: str | os.PathLike) -> Run | None:
    """Read the finished run in a folder; None if there is none or it is not finished.

    Raises:
        ValueError: If the record cannot be read.
    """
    record_file = Path(folder) / "training.json"
    if not record_file.exists():
        return None
    try:
        record = read_object(record_file)
        _check_record(record)
    except ValueError as error:
        raise ValueError(
            f"'{record_file}' is not a valid record of a training run: {error} Train the network again."
        ) from None
    results, variant = record.get("results"), record.setdefault("variant", {})
    name = variant.get("name", record_file.parent.name)
    if results is not None and "packed" in record:
        packed = record["packed"]
        ordered = sorted((int(epoch), record_file.with_name(file)) for epoch, file in packed["checkpoints"].items())
        return Run(name, record, record_file.with_name(packed["model"]), dict(ordered))
    models = [file for file in sorted(record_file.parent.glob("*.keras")) if not file.name.startswith(".")]
    if results is None or not models:
        return None
    files = sorted(record_file.parent.glob("checkpoints/epoch_*.keras"))
    numbered = {file.stem.removeprefix("epoch_"): file for file in files}
    checkpoints = {int(number): file for number, file in numbered.items() if number.isdecimal()}
    return Run(name, record, models[0], checkpoints)


def _check_record(record: dict[str, Any]) -> None:
    """Check the types of the members of a record. Members may be missing."""
    try:
        check_kind("'results'", record.get("results"), (dict, type(None)))
        for name, value in (record.get("results") or {}).items():
            check_kind(
                f"'{name}' of the results", value, (str,) if name == "weights_sha256" else (int, float, type(None))
            )
        for part, kinds in _PARTS.items():
            members = record.get(part, {})
            check_members(members)
            check_members(members, **{name: kind for name, kind in kinds.items() if name in members})
        if "packed" in record:
            check_packed(record["packed"])
    except ValueError as error:
        raise ValueError(f"{error}.") from None


def read_runs(folder: str | os.PathLike | None) -> list[Run]:
    """Read all finished runs in the subfolders of a folder, ordered by variant, or else by name.

    Args:
        folder: Folder of a group of runs, or None. The result is empty if it does not exist.

    Returns:
        List of `Run`.
    """
    folders = sorted(Path(folder).glob("*/")) if folder is not None else []
    runs = [run for run in map(read_run, folders) if run is not None]
    return sorted(runs, key=lambda run: run.record["variant"].get("place", len(runs)))
