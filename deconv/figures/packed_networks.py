"""Networks of packed training runs: an architecture in JSON and weights in a `.npz` file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras

from deconv.runtime.error_messages import reason
from deconv.runtime.json_files import check_kind, check_members
from deconv.runtime.npz_files import read_arrays


def check_packed(packed: dict[str, Any]) -> None:
    """Check the types of the member `packed` of a record, as `scripts/pack_runs.py` writes it.

    Args:
        packed: Dict with `dtype` of the weights, `model` (file name), `checkpoints` (`{epoch: file name}`), `sha256`
            (`{file name: digest}`) and `architecture` (text of `keras.Model.to_json`).

    Raises:
        ValueError: If a member is missing or has another type, or a file is not in the folder of the record.
    """
    check_members(packed, dtype=str, model=str, checkpoints=dict, sha256=dict, architecture=str)
    for epoch, name in packed["checkpoints"].items():
        check_kind(f"checkpoint {epoch}", name, str)
        if not epoch.isdecimal():
            raise ValueError(f"expected epochs as names of 'checkpoints', received {epoch!r}")
    for name in (packed["model"], *packed["checkpoints"].values()):
        check_members(packed["sha256"], **{name: str})
        if Path(name).name != name or not name.endswith(".npz"):
            raise ValueError(f"expected the name of a .npz file beside the record, received {name!r}")


def load_packed(file: Path, packed: dict[str, Any]) -> keras.Model:
    """Load a network of a packed run.

    Args:
        file: The `.npz` file with one array per weight, named `layer/weight`.
        packed: The member `packed` of the record, see `check_packed`.

    Raises:
        ValueError: If the file is missing, is not that of the record, or does not fit the architecture.
    """
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest != packed["sha256"][file.name]:
            raise ValueError("it differs from the file that the record describes, by its SHA-256")
        model = keras.models.model_from_json(packed["architecture"])
        names = [f"{layer.name}/{weight.name}" for layer in model.layers for weight in layer.weights]
        shapes = dict(zip(names, (tuple(weight.shape) for weight in model.weights), strict=True))

        def check(declared):
            if {name: shape for name, (shape, _) in declared.items()} != shapes:
                raise ValueError(f"its arrays are not the weights of '{model.name}'")

        arrays = read_arrays(file, check)
        model.set_weights([arrays[name] for name in names])
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"The network '{file}' cannot be read ({reason(error)}). Install the package again, or pack the run again "
            "with scripts/pack_runs.py."
        ) from None
    return model
