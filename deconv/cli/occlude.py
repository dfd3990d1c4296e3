"""`python -m deconv occlude`: class score and activations while parts of the image are occluded (Fig. 7)."""

from typing import Annotated

import typer

from deconv.cli.images_option import some_of
from deconv.cli.layer_option import class_of, layer_of
from deconv.cli.named_networks import NETWORKS
from deconv.cli.options import BatchSize, Layer, Target, batches, check, command
from deconv.cli.output import in_terminal, note
from deconv.cli.subject_builder import looked_at


@command
def occlude(
    request,
    layer: Layer = None,
    target: Target = None,
    count: Annotated[int, typer.Option(help="How many images, of as many classes.")] = 3,
    size: Annotated[int | None, typer.Option(help="Side of the square in pixels [about a quarter].")] = None,
    stride: Annotated[int | None, typer.Option(help="Its step in pixels [about a twentieth].")] = None,
    fill: Annotated[
        float | None, typer.Option(help="Its pixel value [128, mean grey; 0 for lenet5, the background of its digits].")
    ] = None,
    batch_size: BatchSize = None,
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
    sizes = batches(batch_size)
    subject = looked_at(request)
    from deconv.imaging.fills import MEAN_GREY

    if fill is None and request.model not in NETWORKS:
        fill = MEAN_GREY
    if stride is None and size is not None:
        stride = min(size, subject.stride)  # with a larger stride, pixels would not be covered
    given = {"square": size, "stride": stride, "fill": fill}
    subject = subject._replace(**{name: value for name, value in given.items() if value is not None})
    return subject, _pictures(subject, layer_of(subject, layer), class_of(subject, target), count, sizes)


def _pictures(subject, layer, target, count, sizes):
    import numpy as np

    from deconv.deconvnet.mirrorable import why_not
    from deconv.deconvnet.projection import Deconvnet
    from deconv.figures import Picture
    from deconv.figures.projecting import left_out
    from deconv.graph.model_output import output_kind
    from deconv.occlusion.sensitivity import occlusion_maps
    from deconv.plotting import occlusion_sheet, pixels

    images, names, labels, ids = some_of(subject, count)
    options = {"size": subject.square, "stride": subject.stride, "fill": subject.fill, "preprocess": subject.preprocess}
    options |= sizes
    found = [occlusion_maps(subject.model, image, target, layer, **options, progress=in_terminal()) for image in images]
    net, shown = Deconvnet(subject.model), None
    kind, reason = output_kind(net.graph), why_not(net, layer)
    if reason:
        note(left_out(layer, reason))
    else:
        inputs = subject.prepared(images)
        shown = subject.shown(
            np.concatenate(
                [net.project(inputs[n : n + 1], layer, maps.channel, unit="map") for n, maps in enumerate(found)]
            )
        )
    title = (
        f"Occlusion sensitivity of {subject.model.name}: a {subject.square}×{subject.square} square, "
        f"stride {subject.stride}"
    )
    caption = (
        f"A square of value {subject.fill:g} covers each place of the image in turn; maps show, at the middle of the "
        "square, what the network then says. (a) the image; the red frame is where (d) is lowest. (b) total activation "
        f"of the map of {layer} with the strongest unit in the uncovered image, as a share of what it is uncovered. "
        + ("" if reason else "(c) that map projected down. ")
        + f"(d) {kind} of the class at the left. (e) the class with the largest one."
        + (left_out(layer, reason) if reason else "")
    )
    told = [
        name if subject.class_names[maps.target] == name else f"{name}\n({subject.class_names[maps.target]})"
        for name, maps in zip(names, found, strict=True)
    ]
    figure = occlusion_sheet(pixels(images), found, shown, told, subject.class_names, title, score=kind)
    if len(images) < 3:  # else the colour bars are too small for their labels
        figure.set_size_inches(*(figure.get_size_inches() * (2.2 - 0.4 * len(images))))
    numbers = {"layer": layer, "stride": subject.stride, "fill": subject.fill, "image_ids": ids, "labels": labels}
    numbers |= {"score": kind, "left_out": {"projection": reason} if reason else {}}
    numbers["images"] = [maps._asdict() for maps in found]
    yield Picture("occlude", title, caption, figure, numbers)
