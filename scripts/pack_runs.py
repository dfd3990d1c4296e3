"""Pack finished runs of scripts/train_variants.py into small files, such as those that the package models contains.

Reads RUNS/GROUP/NAME and writes OUT/GROUP/NAME: training.json, the record with the history and the architecture, and
the weights in float16 as .npz. Of the group evolution, the checkpoints are packed too, which Fig. 4 shows; the other
figures read only the networks at the end of the training. A run whose test accuracy differs by more than 0.1 % in
float16 is refused. With --transfer the networks of Fig. 9 are trained from random weights too, and their accuracies
are written to OUT/transfer.json.

\b
  train_variants.py --model lenet5 --out runs
  pack_runs.py runs --transfer --out models/weights/lenet5_runs
"""

import csv
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from scripts import command_line

if TYPE_CHECKING:
    from deconv.figures import Run

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
CHECKPOINTS = ("evolution",)
"""Groups whose checkpoints a figure reads."""
TOLERANCE = 0.001
"""Largest difference in test accuracy between float16 and the dtype of the training."""


@app.command(help=__doc__)
def main(
    runs: Annotated[Path, typer.Argument(help="Output folder of scripts/train_variants.py.")],
    transfer: Annotated[
        bool, typer.Option("--transfer", help="Train LeNet-5 from random weights on the digits of Fig. 9, too.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("packed"),
):
    command_line.check("RUNS", runs, runs.is_dir(), "an existing folder")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with command_line.stopped_by_signals(), command_line.output_folder(out):
            pack(runs, out)
            if transfer:
                write_transfer(out / "transfer.json")
    except (ValueError, OSError, ImportError) as error:
        command_line.fail(error)
    total = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    typer.echo(f"Written to {out}, which holds {total:,} bytes")


def pack(runs: Path, out: Path) -> None:
    """Pack all finished runs of a folder.

    Args:
        runs: Folder with one folder of runs per group.
        out: Folder to write into.

    Raises:
        ValueError: If there is no finished run, a run is packed already, or one loses accuracy in float16.
        OSError: If a file cannot be written.
    """
    from deconv import figures

    found = {group: figures.read_runs(group) for group in sorted(path for path in runs.glob("*/") if path.is_dir())}
    if not any(found.values()):
        raise ValueError(f"There are no finished runs in '{runs}'. Train some with scripts/train_variants.py.")
    for folder, members in found.items():
        for run in members:
            _check(run)
            pack_run(run, out / folder.name / run.model_file.parent.name, folder.name in CHECKPOINTS)


def pack_run(run: "Run", folder: Path, with_checkpoints: bool) -> None:
    """Write the record and the weights of one run.

    Args:
        run: A finished run with `.keras` files.
        folder: Folder to write into.
        with_checkpoints: Whether to pack the checkpoints.

    Raises:
        OSError: If a file cannot be written.
    """
    from models.loading import weight_files
    from models.loading.atomic_files import replacing

    folder.mkdir(parents=True, exist_ok=True)
    files = {run.model_file: f"{run.model_file.stem}.npz"}
    epochs = run.checkpoints if with_checkpoints else {}
    files |= {file: f"{file.stem}.npz" for file in epochs.values()}
    networks = {None: run.model(), **{epoch: run.model(epoch) for epoch in epochs}}
    for epoch, model in networks.items():
        weight_files.save(model, folder / files[run.model_file if epoch is None else epochs[epoch]])
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files.values()}
    names = {epoch: files[file] for epoch, file in epochs.items()}
    last = files[run.model_file]
    for epoch, name in names.items():
        if digests[name] == digests[last]:  # the last checkpoint is the network at the end
            names[epoch] = last
            (folder / name).unlink()
            del digests[name]
    record = {name: part for name, part in run.record.items() if name != "places"}
    record["packed"] = {
        **{"script": "scripts/pack_runs.py", "dtype": "float16", "model": last, "checkpoints": names},
        **{"sha256": digests, "architecture": networks[None].to_json()},
    }
    record["history"] = _history(run.model_file.with_name("history.csv"))
    with replacing(folder / "training.json") as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def write_transfer(file: Path, seed: int = 0) -> None:
    """Train LeNet-5 from random weights as for Fig. 9, on digits-8x8, and write the accuracies.

    Args:
        file: JSON file to write.
        seed: Seed of the networks and of the choice of images.

    Raises:
        ImportError: If scikit-learn is not installed.
        OSError: If the file cannot be written.
    """
    import numpy as np

    from deconv.cli import subject_builder
    from deconv.cli.named_networks import NETWORKS
    from deconv.figures import stored_transfer, table4
    from models import training
    from models.loading.atomic_files import replacing
    from models.training import session

    training.make_repeatable(seed)
    subject = subject_builder.subject("lenet5", NETWORKS["lenet5"], seed=seed, needed=("transfer",))
    per_class = table4.sizes_of(subject.transfer)
    found, _ = table4.transfer_data(subject, per_class)
    record = {"script": "scripts/pack_runs.py", "training": stored_transfer.training_of(subject, per_class)}
    record["versions"] = session.provenance("", subject.transfer, subject.transfer)["versions"]
    results = {name: np.asarray(getattr(found, name)) for name in ("scratch", "updates", "loss")}
    record["results"] = {name: values.tolist() for name, values in results.items()}
    with replacing(file) as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _check(run: "Run") -> None:
    """Check that a run can be packed."""
    results, folder = run.record["results"], run.model_file.parent
    if "packed" in run.record:
        raise ValueError(f"The run in '{folder}' is packed already. Pass a folder of scripts/train_variants.py.")
    before, after = (results.get(name) for name in ("test_accuracy", "test_accuracy_float16"))
    if before is None or after is None or abs(before - after) > TOLERANCE:
        raise ValueError(
            f"The run in '{folder}' cannot be packed in float16: its test accuracy is {before}, in float16 {after}; "
            f"the difference must be known and at most {TOLERANCE}. Train it again."
        )


def _history(file: Path) -> dict[str, list[Any]]:
    """The columns of a history, floats with six significant digits; empty without a file."""
    if not file.exists():
        return {}
    with open(file, newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    columns = {name: [float(f"{float(row[name]):.6g}") for row in rows] for name in rows[0]}
    return {name: [int(value) for value in values] if name == "epoch" else values for name, values in columns.items()}


if __name__ == "__main__":
    app()
