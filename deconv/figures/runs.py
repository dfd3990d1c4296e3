"""Trained networks to compare, as `scripts/train_variants.py` and the other training scripts leave them in folders."""

import json
from pathlib import Path
from typing import NamedTuple

import keras


class Run(NamedTuple):
    """A finished training run.

    Attributes:
        name: What distinguishes the network, in a few words.
        record: What `training.json` says: `arguments`, `data`, `versions`, `results`, and of a variant its `variant`.
        model_file: The trained network.
        checkpoints: `{epoch: file}`, in order.
    """

    name: str
    record: dict
    model_file: Path
    checkpoints: dict[int, Path]

    def model(self):
        """The network; layer classes that are not Keras's own must have been imported.

        Raises:
            ValueError: If its file cannot be read.
        """
        try:
            return keras.saving.load_model(self.model_file, compile=False)
        except (OSError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"'{self.model_file}' is no network that can be read ({reason}). Train it anew.") from None


def read_run(folder):
    """The finished run in a folder; None if there is none, or it is not finished.

    Raises:
        ValueError: If its record cannot be read.
    """
    record_file = Path(folder) / "training.json"
    if not record_file.exists():
        return None
    try:
        record = json.loads(record_file.read_text(encoding="utf-8"))
        results, variant = record.get("results"), record.setdefault("variant", {})
        name, place = variant.get("name", record_file.parent.name), variant.get("place", 0)
        if not isinstance(results, dict | None) or not isinstance(place, int):
            raise TypeError("its results or its place are of another kind")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"'{record_file}' is no record of a training run: {error}. Train it anew.") from None
    models = sorted(record_file.parent.glob("*.keras"))
    if results is None or not models:
        return None
    files = sorted(record_file.parent.glob("checkpoints/epoch_*.keras"))
    numbered = {file.stem.removeprefix("epoch_"): file for file in files}
    checkpoints = {int(number): file for number, file in numbered.items() if number.isdecimal()}
    return Run(str(name), record, models[0], checkpoints)


def read_runs(folder):
    """All finished runs in the sub-folders of a folder, in the order of their variants, else of their names.

    Args:
        folder: A group of runs, or None. One that does not exist has none.

    Returns:
        List of `Run`.
    """
    folders = sorted(Path(folder).glob("*/")) if folder is not None else []
    found = [run for run in map(read_run, folders) if run is not None]
    return sorted(found, key=lambda run: run.record["variant"].get("place", len(found)))
