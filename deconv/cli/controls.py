"""`python -m deconv controls`: how much of a projection depends on the unit, and how much on the switches."""

from typing import Annotated

import typer

from deconv.cli.images_option import some_of
from deconv.cli.layer_option import layer_of
from deconv.cli.options import BatchSize, Layer, batches, check, command
from deconv.cli.subject_builder import looked_at

_SHOWN = 6


@command
def controls(
    request,
    layer: Layer = None,
    count: Annotated[int, typer.Option(help="How many images, at least 2, of as many classes.")] = 20,
    no_cascade: Annotated[
        bool, typer.Option("--no-cascade", help="Leave out the randomised weights, which take longest.")
    ] = False,
    batch_size: BatchSize = None,
):
    """Compare the picture of each image's strongest unit with other switches, other units, other methods and edges.

    Then weights are randomised, layer by layer from the top, to see which pictures notice.

    \b
      python -m deconv controls --layer conv2 --count 100
      python -m deconv controls --model alexnet --layer conv5
    """
    check("--count", count, count >= 2, "at least 2")
    sizes = batches(batch_size)
    subject = looked_at(request)
    return subject, _pictures(subject, layer_of(subject, layer), count, not no_cascade, sizes)


def _pictures(subject, layer, count, randomise, sizes):
    import numpy as np

    from deconv.evaluation.switch_controls import CONTROLS
    from deconv.evaluation.switch_controls import controls as controlled
    from deconv.figures import Picture, Table
    from deconv.graph.keras_model import label
    from deconv.plotting.controls import MEASURES, cascade_chart, controls_chart, controls_sheet

    images, *_, ids = some_of(subject, count)
    inputs = subject.prepared(images)
    found = controlled(subject.model, inputs, layer, randomise=randomise, seed=subject.seed, **sizes)
    tables = {measure: found.table(measure) for measure in MEASURES}
    likeness = Table(
        f"How like the picture of the strongest unit of {layer} each control is: mean (standard deviation)",
        ["control", "what is compared", *MEASURES],
        [
            [name, what, *(f"{tables[measure][name][0]:.2f} ({tables[measure][name][1]:.2f})" for measure in MEASURES)]
            for name, what in CONTROLS.items()
        ],
        "; ".join(f"{measure}: {' '.join(words.split())}" for measure, words in MEASURES.items()) + ".",
    )
    of = f"{layer} of {subject.model.name}, {len(images)} images of {subject.data.name}"
    first = np.arange(min(_SHOWN, len(images)))
    looks = {"in_colour": subject.in_colour, "contrast": subject.contrast}
    sheet = controls_sheet(images[first], found.take(first), f"{of}: the strongest unit and its controls", **looks)
    told = {"layer": layer, "image_ids": ids, "channels": found.channels, "positions": found.positions}
    caption = "; ".join(f"{name}: {what}" for name, what in CONTROLS.items()) + "."
    yield Picture(f"controls_{label(layer)}", f"Controls of {of}", caption, sheet, told)
    chart = controls_chart(found, f"{of}: how like the picture each control is")
    numbers = {**told, "likeness": found.likeness, "means": tables}
    numbers["shares"] = {measure: found.shares(measure) for measure in MEASURES}
    yield Picture(f"likeness_{label(layer)}", f"Likeness, {of}", caption, chart, numbers, tables=[likeness])
    if found.cascade is not None:
        means = {measure: found.cascade.table(measure) for measure in MEASURES}
        caption = (
            "Weights are shuffled within each variable, from this layer down; pictures of the same units are compared "
            "with those of the trained network."
        )
        numbers = {**told, "layers": found.cascade.layers, "means_and_deviations": means}
        title = f"{of}: weights randomised from the top down"
        yield Picture(f"cascade_{label(layer)}", title, caption, cascade_chart(found.cascade, title), numbers)
