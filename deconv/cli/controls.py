"""`python -m deconv controls`: how much of a projection depends on the unit, and how much on the switches."""

from typing import Annotated

import typer

from deconv.cli.images_option import draw_images
from deconv.cli.layer_option import layer_of
from deconv.cli.options import BatchSize, Layer, Request, batches, check, command
from deconv.cli.subject_builder import requested_subject

_SHOWN = 6


@command
def controls(
    request: Request,
    layer: Layer = None,
    count: Annotated[int, typer.Option(help="Number of images, at least 2, spread over the classes.")] = 20,
    no_cascade: Annotated[
        bool, typer.Option("--no-cascade", help="Omit the randomised weights, which take longest.")
    ] = False,
    batch_size: BatchSize = None,
):
    """Compare the projection of each image's strongest unit with control conditions.

    The controls are projections with other switches, of other units, other methods, and the edges of the image. Then
    the weights are randomised layer by layer from the top, to measure how much the projections change.

    \b
      python -m deconv controls --layer conv2 --count 100
      python -m deconv controls --model alexnet --layer conv5
    """
    check("--count", count, count >= 2, "at least 2")
    sizes = batches(batch_size)
    subject = requested_subject(request)
    return subject, _pictures(subject, layer_of(subject, layer), count, not no_cascade, sizes)


def _pictures(subject, layer, count, randomise, sizes):
    import numpy as np

    from deconv.evaluation.switch_controls import CONTROLS
    from deconv.evaluation.switch_controls import controls as compute_controls
    from deconv.figures import Picture, Table
    from deconv.graph.keras_model import label
    from deconv.plotting.controls import MEASURES, cascade_chart, controls_chart, controls_sheet

    images, *_, ids = draw_images(subject, count)
    inputs = subject.prepared(images)
    result = compute_controls(subject.model, inputs, layer, randomise=randomise, seed=subject.seed, **sizes)
    tables = {measure: result.table(measure) for measure in MEASURES}
    likeness = Table(
        f"Similarity of each control to the projection of the strongest unit of {layer}: mean (standard deviation)",
        ["control", "what is compared", *MEASURES],
        [
            [name, what, *(f"{tables[measure][name][0]:.2f} ({tables[measure][name][1]:.2f})" for measure in MEASURES)]
            for name, what in CONTROLS.items()
        ],
        "; ".join(f"{measure}: {' '.join(words.split())}" for measure, words in MEASURES.items()) + ".",
    )
    of = f"{layer} of {subject.model.name}, {len(images)} images of {subject.data.name}"
    first = np.arange(min(_SHOWN, len(images)))
    style = {"in_colour": subject.in_colour, "contrast": subject.contrast}
    sheet = controls_sheet(images[first], result.take(first), f"{of}: the strongest unit and its controls", **style)
    about = {"layer": layer, "image_ids": ids, "channels": result.channels, "positions": result.positions}
    caption = "; ".join(f"{name}: {what}" for name, what in CONTROLS.items()) + "."
    yield Picture(
        name=f"controls_{label(layer)}", title=f"Controls of {of}", caption=caption, figure=sheet, numbers=about
    )
    chart = controls_chart(result, f"{of}: similarity of the controls to the projection")
    numbers = {**about, "likeness": result.likeness, "means": tables}
    numbers["shares"] = {measure: result.shares(measure) for measure in MEASURES}
    yield Picture(
        name=f"likeness_{label(layer)}",
        title=f"Similarity of the controls: {of}",
        caption=caption,
        figure=chart,
        numbers=numbers,
        tables=[likeness],
    )
    if result.cascade is not None:
        means = {measure: result.cascade.table(measure) for measure in MEASURES}
        caption = (
            "The weights are shuffled within each variable, from this layer down to the lowest; the projections of the "
            "same units are compared with those of the trained network."
        )
        numbers = {**about, "layers": result.cascade.layers, "means_and_deviations": means}
        title = f"{of}: weights randomised from the top down"
        yield Picture(
            name=f"cascade_{label(layer)}",
            title=title,
            caption=caption,
            figure=cascade_chart(result.cascade, title),
            numbers=numbers,
        )
