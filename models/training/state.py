"""Everything an interrupted run goes on from, in one file: weights, optimizer, random states, history."""

import json

import keras
import numpy as np

from models.training.files import whole


def save_state(path, model, history, seconds):
    """Write the state of a run after an epoch, whole or not at all.

    Args:
        path: A name that ends in `.npz`.
        model: A compiled model. Saved are its weights, the states of its random layers (Dropout), and its
            optimizer's variables with the count of steps, which the learning rate depends on.
        history: List with one dict of numbers per finished epoch.
        seconds: Time spent so far.
    """
    arrays = {f"{order:04d}": keras.ops.convert_to_numpy(variable) for order, variable in _variables(model)}
    with whole(path) as partial, open(partial, "wb") as file:
        np.savez(file, history=json.dumps(history), seconds=seconds, **arrays)


def load_state(path, model):
    """Put a saved state back into a model of the same kind, compiled alike.

    Args:
        path: A file of `save_state`.
        model: The compiled model; changed in place.

    Returns:
        The history and the seconds that were saved.

    Raises:
        ValueError: If the file cannot be read or is of another model.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        history, seconds = json.loads(str(arrays.pop("history"))), float(arrays.pop("seconds"))
    except Exception as error:
        raise ValueError(f"The saved state '{path}' cannot be read: {error}") from error
    variables = {f"{order:04d}": variable for order, variable in _variables(model)}
    got = {name: array.shape for name, array in arrays.items()}
    want = {name: tuple(variable.shape) for name, variable in variables.items()}
    if got != want:
        raise ValueError(f"The saved state '{path}' is of another model or optimizer than '{model.name}'.")
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return history, seconds


def _variables(model):
    with model.distribute_strategy.scope():  # variables on several devices need it
        model.optimizer.build(model.trainable_variables)
    return enumerate([*model.variables, *model.optimizer.variables])
