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
      python -m deconv occlude --model efficientnet-lite0 --count 1 --layer block5c_add
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
    from deconv.figures import Picture
    from deconv.figures.fig7_panels import occlusion_panels, panels_caption, panels_title
    from deconv.figures.projecting import left_out
    from deconv.plotting import occlusion_sheet, pixels

    images, names, labels, ids = draw_images(subject, count)
    panels = occlusion_panels(subject, images, [target] * len(images), layer, progress=in_terminal(), **sizes)
    if panels.reason:
        note(left_out(layer, panels.reason))
    shown = None if panels.projections is None else subject.shown(panels.projections)
    texts = [
        name
        if maps.target is None or subject.class_names[maps.target] == name
        else f"{name}\n({subject.class_names[maps.target]})"
        for name, maps in zip(names, panels.maps, strict=True)
    ]
    title = panels_title(subject)
    score = panels.kind or ""
    figure = occlusion_sheet(pixels(images), panels.maps, shown, texts, subject.class_names, title, score=score)
    if len(images) < 3:  # else the colour bars are too small for their labels
        figure.set_size_inches(*(figure.get_size_inches() * (2.2 - 0.4 * len(images))))
    caption, numbers = panels_caption(subject, panels, "the class at the left"), panels.numbers(subject, labels, ids)
    yield Picture(name="occlude", title=title, caption=caption, figure=figure, numbers=numbers)
