"""How long does it take to make an image for every channel, and is it stronger than any image there is?

LeNet-5: all living channels of conv1, conv2, fc3 and fc4, and the ten logits, with the preset for digits; a channel is
raised if its image gives it more than the strongest of 5,000 digits does, anywhere in its map. AlexNet: channels of
conv5 with the preset for photographs, 32 at a time and one at a time. Compiling is part of all times.
"""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from benchmarks import measuring, workers
from scripts import command_line

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

LAYERS = ("conv1", "conv2", "fc3", "fc4", "predictions")
TOGETHER, ALONE = "32 at a time", "one at a time"


@app.command(help=__doc__)
def main(
    model: measuring.Networks = None,
    steps: Annotated[int | None, typer.Option(help="Steps for AlexNet's images, to be quicker [the preset's].")] = None,
    repeats: measuring.Repeats = 3,
    threads: measuring.Threads = 2,
    out: measuring.Out = None,
    quick: measuring.Quick = False,
):
    networks = measuring.check_options(repeats, threads, out, model, ("lenet5", "alexnet"))
    if steps is not None:
        command_line.check("--steps", steps, steps >= 1, "at least 1")
    if "tensorflow" not in sys.modules:  # which reads them when it is loaded
        os.environ.update(workers.environment(threads))
    content = {"question": "visualization", "quick": quick, "machine": measuring.machine(threads), "networks": {}}
    measures = {"lenet5": _digits, "alexnet": lambda *some: _photographs(steps, *some)}
    try:
        for name in networks:
            content["networks"][name] = measures[name](repeats, quick)
    except (OSError, ValueError, ImportError) as error:
        command_line.fail(error)
    measuring.write(out, content)


def _digits(repeats, quick):
    """Seconds for all channels of LeNet-5, and how many are raised."""
    import numpy as np

    import deconv
    import models
    from deconv import datasets
    from models.lenet5 import preprocess_input

    network = models.LeNet5(weights="mnist")
    logits = models.LeNet5(weights="mnist", classifier_activation=None)
    digits, _, _ = datasets.arrays(datasets.load("mnist-5k", "all"))
    layers = LAYERS[:2] if quick else LAYERS
    values = deconv.activations(logits, preprocess_input(digits[:100] if quick else digits), layers, batch_size=250)
    strongest = {layer: maps.reshape(-1, maps.shape[-1]).max(axis=0) for layer, maps in values.items()}
    alive = {layer: np.flatnonzero(peaks > 0) for layer, peaks in strongest.items()}
    settings = {"preprocess": preprocess_input, "batch_size": 64} | ({"steps": 4} if quick else {})

    def make():
        start = time.perf_counter()
        made.update({layer: deconv.features.visualize(network, layer, alive[layer], **settings) for layer in layers})
        return time.perf_counter() - start

    made = {}
    times = measuring.rounds({"all": make}, repeats, 0 if quick else measuring.BUDGET)["all"]
    lines = []
    for layer in layers:
        ratios = made[layer].scores / strongest[layer][alive[layer]]
        lines.append([layer, len(ratios), int((ratios > 1).sum()), float(np.median(ratios)), float(ratios.min())])
    channels, raised = (sum(line[place] for line in lines) for place in (1, 2))
    headers = ["lenet5", "living channels", "raised", "times the strongest digit, median", "least"]
    measuring.show("Stronger than any digit?", headers, lines)
    typer.echo(f"\n{raised} of {channels}, {raised / channels:.1%}, in {times.median:.1f} s")
    names = "channels", "raised", "median", "least"
    content = {layer: dict(zip(names, numbers, strict=True)) for layer, *numbers in lines}
    share = raised / channels
    return {"channels": channels, "raised": raised, "share": share, "times": times._asdict(), "layers": content}


def _photographs(steps, repeats, quick):
    """Seconds per channel of AlexNet's conv5, many at a time and one at a time."""
    import deconv
    import models
    from models.alexnet import preprocess_input

    network = models.AlexNet(weights="imagenette")
    settings = {"preprocess": preprocess_input} | ({} if steps is None else {"steps": steps})
    settings |= {"steps": 1, "size": (67, 67)} if quick else {}
    counts = {TOGETHER: 2 if quick else 32, ALONE: 1 if quick else 2}

    def clocked(row):
        batch_size = 1 if row == ALONE else 32
        start = time.perf_counter()
        found = deconv.features.visualize(
            network, "conv2" if quick else "conv5", range(counts[row]), batch_size=batch_size, **settings
        )
        return (time.perf_counter() - start) / len(found.scores)

    times = measuring.rounds(
        {row: lambda row=row: clocked(row) for row in counts}, repeats, 0 if quick else measuring.BUDGET / 32
    )
    ratio = times[ALONE].median / times[TOGETHER].median
    headers = ["alexnet, conv5", "channels", "seconds per channel", "lowest", "highest"]
    lines = [[row, counts[row], found.median, found.low, found.high] for row, found in times.items()]
    measuring.show("An image for each channel", headers, lines)
    typer.echo(f"\none at a time takes {ratio:.2f} times as long for each")
    return {"times": {row: found._asdict() for row, found in times.items()}, "channels": counts, "ratio": ratio}


if __name__ == "__main__":
    app()
