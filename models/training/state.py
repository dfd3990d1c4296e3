"""The state from which an interrupted run resumes, in one file: weights, optimizer, random states, history."""

import json
from pathlib import Path

import keras
import numpy as np

from models.loading.atomic_files import replacing
from models.loading.json_files import check_members, parse
from models.loading.npz_files import read_arrays


def save_state(path, model, history, seconds):
    """Write the state of a run after an epoch atomically.

    Args:
        path: The file to write; a name that ends in `.npz`.
        model: A compiled model. Its weights, the states of its random layers (Dropout), and the variables of its
            optimizer are saved, including the number of steps, on which the learning rate depends.
        history: List with one dict of numbers per finished epoch.
        seconds: Duration of the run so far.
    """
    arrays = {f"{order:04d}": keras.ops.convert_to_numpy(variable) for order, variable in _variables(model)}
    with replacing(path) as partial, open(partial, "wb") as file:
        np.savez(file, history=json.dumps(history), seconds=seconds, **arrays)


def load_state(path, model):
    """Restore a saved state in a model of the same architecture that is compiled alike.

    Args:
        path: A file of `save_state`.
        model: The compiled model; changed in place.

    Returns:
        The history and the seconds that were saved.

    Raises:
        ValueError: If the file cannot be read, belongs to another model, or contains values that no run writes: numbers
            that are not finite, a history of another form. The model is then unchanged.
    """
    variables = {f"{order:04d}": variable for order, variable in _variables(model)}
    want = {name: (tuple(variable.shape), np.dtype(variable.dtype)) for name, variable in variables.items()}

    def check(declared):
        texts = declared.pop("history", None), declared.pop("seconds", None)
        if declared != want:
            raise _AnotherModel
        if texts[0] is None or texts[0][0] != () or texts[0][1].kind != "U" or texts[1] != ((), np.dtype(float)):
            raise ValueError("it has no history and no time")
        if texts[0][1].itemsize > Path(path).stat().st_size:
            raise ValueError("its history is compressed, which that of a state is not")

    try:
        arrays = read_arrays(path, check)
        history, seconds = parse(str(arrays.pop("history"))), float(arrays.pop("seconds"))
        _check_history(history, seconds)
        for order, (name, variable) in enumerate(variables.items()):
            known = np.isfinite(arrays[name]) if order < len(model.variables) else ~np.isnan(arrays[name])
            if not known.all():  # the optimizer's variables may become infinite
                raise ValueError(f"'{variable.path}' is not all finite")
    except _AnotherModel:
        raise ValueError(f"The saved state '{path}' is of another model or optimizer than '{model.name}'.") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"The saved state '{path}' cannot be read: {error}") from error
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return history, seconds


class _AnotherModel(Exception):
    """The arrays of a file are not those of the model."""


def _check_history(history, seconds):
    """Check that a history has a row of the same numbers for every epoch, from the first on."""
    if not isinstance(history, list) or not 0 <= seconds < float("inf"):
        raise ValueError("its history is no list, or its time is no number of seconds")
    for epoch, row in enumerate(history, start=1):
        check_members(row)
        check_members(row, **{**dict.fromkeys(history[0], (int, float)), "epoch": int})
        if row["epoch"] != epoch or len(row) != len(history[0]):
            raise ValueError(f"row {epoch} of its history is not that of epoch {epoch}")


def _variables(model):
    with model.distribute_strategy.scope():  # required for variables on several devices
        model.optimizer.build(model.trainable_variables)
    return enumerate([*model.variables, *model.optimizer.variables])
