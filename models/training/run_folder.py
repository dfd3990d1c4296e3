"""The folder of a training run, and checks before it is used."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.loading.atomic_files import PREFIX, locked, remove_leftovers, replacing
from models.loading.json_files import check_members, read_object

if TYPE_CHECKING:
    import keras


class RunFolderError(ValueError):
    """The folder cannot be used for this run; the message says why and what to do."""


class RunFolder:
    """The files of a run.

    `training.json` (arguments, then results), `state.npz` (to resume from, until the run is finished), `history.csv`,
    `checkpoints/epoch_001.keras`, ..., and at the end the model `<name>.keras`, `weights.npz` and
    `learning_curve.png`. Every file is written atomically, and `held` excludes simultaneous runs.

    Args:
        path: The folder. It may be new.
        name: Name of the network, for the final model's file.
    """

    def __init__(self, path: str | os.PathLike, name: str) -> None:
        self.path = Path(path)
        self.record_file = self.path / "training.json"
        self.state_file = self.path / "state.npz"
        self.history_file = self.path / "history.csv"
        self.model_file = self.path / f"{name}.keras"
        self.weights_file = self.path / "weights.npz"
        self.curve_file = self.path / "learning_curve.png"

    def checkpoint_file(self, epoch: int) -> Path:
        """File of the model after `epoch`, counted from 1."""
        return self.path / "checkpoints" / f"epoch_{epoch:03d}.keras"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Context manager that excludes other runs, of this process or another, from the folder.

        Unfinished files of killed runs are removed. The folder is created if necessary, and removed again if nothing
        was written into it.

        Raises:
            RunFolderError: If another run holds it, without waiting; or if it cannot be created or written.
        """
        self._check_place()
        new = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            with contextlib.ExitStack() as stack:
                try:
                    self.path.mkdir(parents=True, exist_ok=True)
                    stack.enter_context(locked(self.path))
                except (OSError, ValueError) as error:
                    raise RunFolderError(str(error)) from error
                remove_leftovers(self.path / "checkpoints")
                yield
        finally:
            with contextlib.suppress(OSError):  # it is not empty
                for folder in new:
                    folder.rmdir()

    def _check_place(self) -> None:
        """Check that the folder can be created and written."""
        existing = self.path
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir():
            raise RunFolderError(f"'{self.path}' cannot be a folder: '{existing}' is a file.")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise RunFolderError(f"The folder '{self.path}' cannot be written: no permission for '{existing}'.")

    def check(self, arguments: Mapping[str, Any], resume: bool) -> dict[str, Any] | None:
        """Check whether a run with these arguments may start or resume here. Nothing is written.

        Args:
            arguments: Dict of everything on which the run's results depend.
            resume: Whether to resume an existing run. Without one, a new run starts.

        Returns:
            The results of the existing run if it is finished, or None.

        Raises:
            RunFolderError: If the folder cannot be written; contains a run and `resume` is False; was made with other
                arguments; or contains anything else.
        """
        self._check_place()
        if not self.path.exists():
            return None
        if not self.record_file.exists():
            if any(not _is_temporary(file) for file in self.path.iterdir()):
                raise RunFolderError(
                    f"The folder '{self.path}' holds other files and no run (training.json). Choose a new folder."
                )
            return None
        record = self._record()
        finished = record.get("results") is not None
        if not resume:
            raise RunFolderError(
                f"The folder '{self.path}' holds a finished run. Choose another folder, or remove this one first."
                if finished
                else f"The folder '{self.path}' holds an unfinished run. Pass --resume, or choose another folder."
            )
        differences = _differences(record["arguments"], arguments)
        if differences:
            raise RunFolderError(
                f"The run in '{self.path}' was made with other arguments: {differences}. "
                "Pass the same arguments, or choose another folder."
            )
        return record["results"]

    def check_data(self, data: Mapping[str, Any]) -> None:
        """Check whether an existing run was started on these data. Nothing is written.

        Args:
            data: Dict that describes the data, as recorded under the key `data`.

        Raises:
            RunFolderError: If it was started on other data. The message names the differences.
        """
        record = self._record() if self.record_file.exists() else {}
        differences = _differences(record.get("data", data), data)
        if differences:
            raise RunFolderError(
                f"The run in '{self.path}' was started on other data: {differences}. "
                "Restore the data, or choose another folder for a new run."
            )

    def start(self, record: Mapping[str, Any]) -> None:
        """Create the folder and write the record of a new run.

        Args:
            record: Dict with the key `arguments`.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._write_record({**record, "results": None})

    def withdraw(self) -> None:
        """Remove what `start` wrote, after a failure. A run with a finished epoch is kept and can be resumed."""
        if not self.state_file.exists():
            self.record_file.unlink(missing_ok=True)

    def write_history(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write `history.csv`, with floats in a form that preserves their values.

        Args:
            history: One dict per epoch, all with the same keys.
        """
        with replacing(self.history_file) as partial, open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, history[0])
            writer.writeheader()
            writer.writerows(history)

    def save_checkpoint(self, model: keras.Model, epoch: int) -> None:
        """Save the model after `epoch`, counted from 1; see `save_model`."""
        self.checkpoint_file(epoch).parent.mkdir(exist_ok=True)
        self.save_model(model, self.checkpoint_file(epoch))

    def save_model(self, model: keras.Model, path: str | os.PathLike) -> None:
        """Save a network without its optimizer, for analysis; a run is resumed from `state.npz`.

        Args:
            model: A functional `keras.Model`.
            path: The file to write; a name that ends in `.keras`.
        """
        import keras

        with replacing(path) as partial:
            keras.Model(model.inputs, model.outputs, name=model.name).save(partial)

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the results into the record. The run is then finished, and its state is removed."""
        self._write_record({**self._record(), "results": results})
        self.state_file.unlink(missing_ok=True)

    def result(self, name: str) -> float:
        """A number from the results of a finished run.

        Args:
            name: Its key in the results.

        Returns:
            The number.

        Raises:
            RunFolderError: If the record contains no such number.
        """
        results = self._record()["results"]
        try:
            check_members(results, **{name: (int, float)})
        except ValueError as error:
            raise RunFolderError(f"'{self.record_file}' is not the record of a finished run: {error}.") from None
        return results[name]

    def _record(self) -> dict[str, Any]:
        """Read the record and check its form."""
        try:
            record = read_object(self.record_file, arguments=dict, results=(dict, type(None)))
            if not isinstance(record.get("data", {}), dict):
                raise ValueError(f"its 'data' must be an object, received {type(record['data']).__name__}.")
        except ValueError as error:
            raise RunFolderError(f"'{self.record_file}' is not the record of a run: {error}") from error
        return record

    def _write_record(self, record: Mapping[str, Any]) -> None:
        with replacing(self.record_file) as partial:
            partial.write_text(json.dumps(record, indent=2) + "\n")


def _is_temporary(file: Path) -> bool:
    """Whether a file exists only during a run, or was left by a killed one."""
    return file.name.startswith(PREFIX) or file.name == ".lock"


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """`"epochs 4 -> 5, seed 0 -> 1"`; empty if two dicts are equal. Long values are shortened."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {_short(before.get(name))} -> {_short(now.get(name))}" for name in names)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
