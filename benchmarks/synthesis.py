"""How long does it take to dream of a photograph of 256 pixels, to paint it in another's style, to find it again?

AlexNet on the photographs that come with the package: DeepDream of conv4 (4 octaves of 10 steps), style transfer with
its defaults (200 steps through conv1 to conv5), and the inversion of conv3. Compiling is part of all times. Reported
beside them: the mean square of the layer after the dream over that before, the mean relative error of the Gram
matrices, and the relative squared error of the inversion.
"""

import os
import sys
import time
from pathlib import Path

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from benchmarks import measuring, workers
from scripts import command_line

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

SIDE, LIMIT = 256, 120
"""Side in pixels; limit in seconds for dream and style on two cores."""

CONTENT, STYLE = 8, 12
"""Indices of photographs: tents in a wood; a window of stained glass."""


@app.command(help=__doc__)
def main(
    repeats: measuring.Repeats = 3,
    threads: measuring.Threads = 2,
    out: measuring.Out = None,
    quick: measuring.Quick = False,
):
    measuring.check_options(repeats, threads, out)
    if "tensorflow" not in sys.modules:  # TensorFlow reads them when it is loaded
        os.environ.update(workers.environment(threads))
    try:
        rows, found = _contestants(72 if quick else SIDE, quick)
        times = measuring.rounds(rows, repeats, 0 if quick else measuring.BUDGET * 5)
    except (OSError, ValueError, ImportError) as error:
        command_line.fail(error)
    lines = [[row, clock.median, clock.low, clock.high, found[row]] for row, clock in times.items()]
    headers = [f"alexnet, {72 if quick else SIDE} pixels", "seconds", "lowest", "highest", "reached"]
    measuring.show("Dream, style, inversion", headers, lines)
    content = {
        "question": "synthesis",
        "quick": quick,
        "machine": measuring.machine(threads),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "times": {row: clock._asdict() for row, clock in times.items()},
        "reached": found,
        "within_two_minutes": all(times[row].median < LIMIT for row in ("dream", "style")),
    }
    measuring.write(out, content)


def _contestants(side, quick):
    """Functions that return their seconds, and a dict that they fill with their results."""
    import numpy as np

    import models
    from deconv import activations, datasets
    from deconv.features.dreaming import dream
    from deconv.features.inversion import invert
    from deconv.features.style import transfer_style
    from models.alexnet import preprocess_input

    network = models.AlexNet(weights="imagenette")
    photographs, _, _ = datasets.arrays(datasets.load("imagenet-20", image_size=(side, side)), max(CONTENT, STYLE) + 1)
    image, style = photographs[CONTENT], photographs[STYLE]
    open_sides = models.AlexNet(weights="imagenette", include_top=False, input_shape=(None, None, 3))
    steps = {"steps": 1} if quick else {}

    def energy(picture):
        seen = activations(open_sides, preprocess_input(picture[None]), "conv4", input_shape=picture.shape)
        return float(np.mean(np.square(seen["conv4"])))

    def dreaming():
        dreamt = dream(network, image, "conv4", octaves=1 if quick else 4, preprocess=preprocess_input, **steps)
        return energy(dreamt) / energy(image)

    def painting():
        painted = transfer_style(network, image, style, size=None, preprocess=preprocess_input, **steps)
        return sum(painted.style_losses.values()) / len(painted.style_losses)

    def inverting():
        return float(invert(network, image[None], "conv3", preprocess=preprocess_input, **steps).errors[0])

    found = {}

    def clocked(row, function):
        start = time.perf_counter()
        found[row] = function()
        return time.perf_counter() - start

    functions = {"dream": dreaming, "style": painting, "inversion": inverting}
    return {row: lambda row=row: clocked(row, functions[row]) for row in functions}, found


if __name__ == "__main__":
    app()
