"""`python -m deconv occlude`: what a network still recognises when a square is covered (Fig. 7)."""

from typing import Annotated

import typer

from deconv.cli.images import some_of
from deconv.cli.options import Layer, Target, check, command
from deconv.cli.output import in_terminal
from deconv.cli.subjects import looked_at
from deconv.cli.units import class_of, layer_of


@command
def occlude(
    request,
    layer: Layer = None,
    target: Target = None,
    count: Annotated[int, typer.Option(help="How many images, of as many classes.")] = 3,
    size: Annotated[int | None, typer.Option(help="Side of the square in pixels [about a quarter].")] = None,
    stride: Annotated[int | None, typer.Option(help="Its step in pixels [about a twentieth].")] = None,
    fill: Annotated[float | None, typer.Option(help="Its pixel value [0 for grey images, 128 for colour].")] = None,
):
    """Cover every place of an image in turn: where the class is lost, and what a layer's strongest map says to it.

    \b
      python -m deconv occlude
      python -m deconv occlude --images digit.png --target 7 --size 6
      python -m deconv occlude --model alexnet --count 1 --layer conv5
    """
    check("--count", count, count >= 1, "at least 1")
    check("--size", size, size is None or size >= 1, "at least 1")
    check("--stride", stride, stride is None or stride >= 1, "at least 1")
    subject = looked_at(request)
    given = {"square": size, "stride": stride, "fill": fill}
    subject = subject._replace(**{name: value for name, value in given.items() if value is not None})
    return subject, _pictures(subject, layer_of(subject, layer), class_of(subject, target), count)


def _pictures(subject, layer, target, count):
    import numpy as np

    from deconv.figures import Picture
    from deconv.occlusion import occlusion_maps
    from deconv.plotting import occlusion_sheet, pixels
    from deconv.projection import Deconvnet

    images, names, labels, ids = some_of(subject, count)
    options = {"size": subject.square, "stride": subject.stride, "fill": subject.fill, "preprocess": subject.preprocess}
    found = [occlusion_maps(subject.model, image, target, layer, **options, progress=in_terminal()) for image in images]
    net, inputs = Deconvnet(subject.model), subject.preprocess(images)
    projections = np.concatenate(
        [net.project(inputs[n : n + 1], layer, maps.channel, unit="map") for n, maps in enumerate(found)]
    )
    title = (
        f"Occlusion sensitivity of {subject.model.name}: a {subject.square}×{subject.square} square, "
        f"stride {subject.stride}"
    )
    caption = (
        f"A square of value {subject.fill:g} covers each place of the image in turn; maps show, at the middle of the "
        "square, what the network then says. (a) the image; the red frame is where (d) is lowest. (b) total activation "
        f"of the map of {layer} with the strongest unit in the uncovered image, as a share of what it is uncovered. "
        "(c) that map projected down. (d) probability of the class at the left. (e) most probable class."
    )
    told = [
        name if subject.class_names[maps.target] == name else f"{name}\n({subject.class_names[maps.target]})"
        for name, maps in zip(names, found, strict=True)
    ]
    shown = subject.shown(projections)
    figure = occlusion_sheet(pixels(images), found, shown, told, subject.class_names, title)
    if len(images) < 3:  # else the scales below so few rows are too small for their numbers
        figure.set_size_inches(*(figure.get_size_inches() * (2.2 - 0.4 * len(images))))
    numbers = {"layer": layer, "stride": subject.stride, "fill": subject.fill, "image_ids": ids, "labels": labels}
    numbers["images"] = [maps._asdict() for maps in found]
    yield Picture("occlude", title, caption, figure, numbers)
