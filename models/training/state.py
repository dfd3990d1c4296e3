"""The state from which an interrupted run resumes, in one file: weights, optimizer, random states, history."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.loading.atomic_files import replacing
from models.loading.json_files import check_members, parse
from models.loading.npz_files import read_arrays


def save_state(
    path: str | os.PathLike, model: keras.Model, history: Sequence[dict[str, float]], seconds: float
) -> None:
    """Write the state of a run after an epoch atomically.

    Args:
        path: The file to write; a name that ends in `.npz`.
        model: A compiled model. Its weights, the states of its random layers (Dropout), and the variables of its
            optimizer are saved, including the number of steps, on which the learning rate depends.
        history: List with one dict of numbers per finished epoch.
        seconds: Duration of the run so far.
    """
    arrays: dict[str, Any] = {
        f"{order:04d}": keras.ops.convert_to_numpy(variable) for order, variable in _variables(model)
    }
    with replacing(path) as partial, open(partial, "wb") as file:
        np.savez(file, history=json.dumps(history), seconds=seconds, **arrays)


def load_state(path: str | os.PathLike, model: keras.Model) -> tuple[list[dict[str, float]], float]:
    """Restore a saved state in a model of the same architecture that is compiled alike.

    Args:
        path: A file of `save_state`.
        model: The compiled model; changed in place.

    Returns:
        The history and the seconds that were saved.

    Raises:
        ValueError: If the file cannot be read, belongs to another model, or contains values that no run writes: numbers
            that are not finite, or a history of another form. The model is then unchanged.
    """
    variables = {f"{order:04d}": variable for order, variable in _variables(model)}
    expected = {name: (tuple(variable.shape), np.dtype(variable.dtype)) for name, variable in variables.items()}

    def check(declared: dict[str, tuple[tuple[int, ...], np.dtype]]) -> None:
        history, seconds = declared.pop("history", None), declared.pop("seconds", None)
        if declared != expected:
            raise _AnotherModel
        if history is None or history[0] != () or history[1].kind != "U" or seconds != ((), np.dtype(float)):
            raise ValueError("it has no history or no duration")
        if history[1].itemsize > Path(path).stat().st_size:
            raise ValueError("its history is compressed, which no run writes")

    try:
        arrays = read_arrays(path, check)
        history, seconds = parse(str(arrays.pop("history"))), float(arrays.pop("seconds"))
        _check_history(history, seconds)
        for order, (name, variable) in enumerate(variables.items()):
            is_valid = np.isfinite(arrays[name]) if order < len(model.variables) else ~np.isnan(arrays[name])
            if not is_valid.all():  # the optimizer's variables may become infinite
                raise ValueError(f"'{variable.path}' is not all finite")
    except _AnotherModel:
        raise ValueError(
            f"The saved state '{path}' belongs to another model or optimizer than '{model.name}'."
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"The saved state '{path}' cannot be read: {error}") from error
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return history, seconds


class _AnotherModel(Exception):
    """The arrays of a file are not those of the model."""


def _check_history(history: Any, seconds: float) -> None:
    """Check that a history has a row of the same numbers for every epoch, from the first on."""
    if not isinstance(history, list) or not 0 <= seconds < float("inf"):
        raise ValueError("its history is not a list, or its duration is not a number of seconds")
    for epoch, row in enumerate(history, start=1):
        check_members(row)
        kinds: dict[str, type | tuple[type, ...]] = {**dict.fromkeys(history[0], (int, float)), "epoch": int}
        check_members(row, **kinds)
        if row["epoch"] != epoch or len(row) != len(history[0]):
            raise ValueError(f"row {epoch} of its history is not that of epoch {epoch}")


def _variables(model: keras.Model) -> Iterator[tuple[int, keras.Variable]]:
    """Variables of the model and its optimizer, numbered."""
    with model.distribute_strategy.scope():  # required for variables on several devices
        model.optimizer.build(model.trainable_variables)
    return enumerate([*model.variables, *model.optimizer.variables])
