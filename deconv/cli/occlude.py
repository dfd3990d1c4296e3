"""`python -m deconv occlude`: class score and activations while parts of the image are occluded (Fig. 7)."""

from typing import Annotated, Any

import typer

from deconv.cli.images_option import draw_images
from deconv.cli.layer_option import class_of, layer_of
from deconv.cli.named_networks import NETWORKS
from deconv.cli.options import BatchSize, Layer, Request, Target, batches, check, command
from deconv.cli.output import in_terminal, note
from deconv.cli.subject_builder import requested_subject


@command
def occlude(
    request: Request,
    layer: Layer = None,
    target: Target = None,
    count: Annotated[int, typer.Option(help="Number of images, spread over the classes.")] = 3,
    size: Annotated[
        int | None, typer.Option(help="Side of the occluding patch in pixels [default: about a quarter of the image].")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="Stride of the patch in pixels [default: about a twentieth of the image].")
    ] = None,
    fill: Annotated[
        float | None,
        typer.Option(help="Pixel value of the patch [default: 128, mean grey; 0 for lenet5, the digits' background]."),
    ] = None,
    batch_size: BatchSize = None,
):
    """Compute the occlusion sensitivity of a class score, and of the strongest map of a layer, to every image position.

    \b
      python -m deconv occlude
      python -m deconv occlude --images digit.png --target 7 --size 6
      python -m deconv occlude --model alexnet --count 1 --layer conv5
    """
    check("--count", count, count >= 1, "at least 1")
    check("--size", size, size is None or size >= 1, "at least 1")
    check("--stride", stride, stride is None or stride >= 1, "at least 1")
    sizes = batches(batch_size)
    subject = requested_subject(request)
    from deconv.imaging.fills import MEAN_GREY

    if fill is None and request.model not in NETWORKS:
        fill = MEAN_GREY
    if stride is None and size is not None:
        stride = min(size, subject.stride)  # with a larger stride, pixels would not be covered
    given: dict[str, Any] = {"square": size, "stride": stride, "fill": fill}
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

    images, names, labels, ids = draw_images(subject, count)
    options = {"size": subject.square, "stride": subject.stride, "fill": subject.fill, "preprocess": subject.preprocess}
    options |= sizes
    results = [
        occlusion_maps(subject.model, image, target, layer, **options, progress=in_terminal()) for image in images
    ]
    net, shown = Deconvnet(subject.model), None
    kind, reason = output_kind(net.graph), why_not(net, layer)
    if reason:
        note(left_out(layer, reason))
    else:
        inputs = subject.prepared(images)
        shown = subject.shown(
            np.concatenate(
                [net.project(inputs[n : n + 1], layer, maps.channel, unit="map") for n, maps in enumerate(results)]
            )
        )
    title = (
        f"Occlusion sensitivity of {subject.model.name}: {subject.square}×{subject.square} patch, "
        f"stride {subject.stride}"
    )
    caption = (
        f"A patch of pixel value {subject.fill:g} occludes each position of the image in turn; maps show the result at "
        "the centre of the patch. (a) the image; the red frame marks the minimum of (d). (b) total activation of the "
        f"map of {layer} with the strongest unit in the unoccluded image, as a share of its value there. "
        + ("" if reason else "(c) projection of that map. ")
        + f"(d) {kind} of the class at the left. (e) the class with the largest one."
        + (left_out(layer, reason) if reason else "")
    )
    texts = [
        name if subject.class_names[maps.target] == name else f"{name}\n({subject.class_names[maps.target]})"
        for name, maps in zip(names, results, strict=True)
    ]
    figure = occlusion_sheet(pixels(images), results, shown, texts, subject.class_names, title, score=kind)
    if len(images) < 3:  # else the colour bars are too small for their labels
        figure.set_size_inches(*(figure.get_size_inches() * (2.2 - 0.4 * len(images))))
    numbers = {"layer": layer, "stride": subject.stride, "fill": subject.fill, "image_ids": ids, "labels": labels}
    numbers |= {"score": kind, "left_out": {"projection": reason} if reason else {}}
    numbers["images"] = [maps._asdict() for maps in results]
    yield Picture(name="occlude", title=title, caption=caption, figure=figure, numbers=numbers)
