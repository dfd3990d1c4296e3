"""Draw the figures and tables of Zeiler & Fergus for a trained network, and what its layers look for.

Writes into --out every figure as PNG and PDF, with a JSON file of its numbers and its provenance, and index.html, which
shows all figures beside the results and claims of the paper. Finished figures are kept when the command runs again.
The options are those of `python -m deconv figures`. The small networks that some figures of LeNet-5 compare are read
from the package; --train trains them instead, those that are missing in OUT/runs.

\b
  make_figures.py                                       all figures of LeNet-5 on digits
  make_figures.py --train --only fig4                   one figure, of a network that is trained for it
  make_figures.py --model alexnet --only fig5 fig7      two figures of AlexNet on photographs
  make_figures.py --model alexnet --images imagenette --data-dir DIR
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from deconv.cli.figures import standalone


def train_runs(groups: Sequence[str], folder: Path, seed: int) -> Path:
    """Train the missing runs of groups of small networks into a folder, and return it."""
    from scripts import train_variants

    train_variants.train("lenet5", groups, out=folder, seed=seed, say=typer.echo)
    return folder


app = standalone(train_runs, __doc__)

if __name__ == "__main__":
    app()
