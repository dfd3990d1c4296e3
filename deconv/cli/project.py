"""`python -m deconv project`: projections of units of a layer to pixel space."""

from typing import Annotated

import typer

from deconv.cli.images_option import draw_images
from deconv.cli.layer_option import layer_of
from deconv.cli.options import BatchSize, Channels, Layer, Request, batches, check, command, numbers
from deconv.cli.subject_builder import requested_subject

_STRONGEST = 6


@command
def project(
    request: Request,
    layer: Layer = None,
    channel: Channels = None,
    count: Annotated[int, typer.Option(help="Number of images, spread over the classes.")] = 5,
    whole_map: Annotated[
        bool, typer.Option("--whole-map", help="Project all units of a channel's map, not only the strongest.")
    ] = False,
    batch_size: BatchSize = None,
):
    """Project units of a layer to pixel space with the deconvnet.

    Without --channel, the channels with the strongest activations in these images are projected.

    \b
      python -m deconv project --layer conv2 --channel 0-5
      python -m deconv project --model alexnet --layer conv5 --count 3 --out pictures
      python -m deconv project --model own.keras --images photograph.jpg --preprocess unit --layer conv3
    """
    channels = numbers("--channel", channel)
    check("--count", count, count >= 1, "at least 1")
    sizes = batches(batch_size)
    subject = requested_subject(request)
    return subject, _pictures(subject, layer_of(subject, layer), channels, count, "map" if whole_map else "max", sizes)


def _pictures(subject, layer, channels, count, unit, sizes):
    import numpy as np

    from deconv.deconvnet.projection import Deconvnet
    from deconv.deconvnet.recording import activations
    from deconv.figures import Picture
    from deconv.figures.subject import count_of
    from deconv.graph.keras_model import label
    from deconv.plotting import pixels
    from deconv.plotting.projections import projection_sheet
    from deconv.validation import check_channels

    images, names, labels, ids = draw_images(subject, count)
    inputs = subject.prepared(images)
    maps = activations(subject.model, inputs, layer, **sizes)[layer]
    peaks = maps.reshape(len(maps), -1, maps.shape[-1]).max(axis=1)
    if channels is None:
        channels = np.sort(np.argsort(-peaks.max(axis=0), kind="stable")[:_STRONGEST])
    channels = check_channels(channels, peaks.shape[1], layer)
    projections = Deconvnet(subject.model).project(inputs, layer, channels, unit, **sizes)
    shown = subject.shown(projections.reshape(-1, *projections.shape[2:]))
    shown = shown.reshape(*projections.shape[:-1], images.shape[-1])
    what = "maps" if unit == "map" else "strongest units"
    title = f"{layer} of {subject.model.name}: projections of the {what} of {count_of(len(channels), 'channel')}"
    caption = (
        f"Rows are images of {subject.data.name}, columns are channels; the activation is above each projection. "
        f"Every projection is divided by {subject.scale}; grey is zero, light excites the unit, dark inhibits it."
    )
    figure = projection_sheet(pixels(images), shown, names, channels, peaks[:, channels], title, scale=subject.scale)
    numbers = {"layer": layer, "channels": channels, "unit": unit, "image_ids": ids, "labels": labels}
    numbers |= {"activations": peaks[:, channels], "largest_magnitudes": np.abs(projections).max(axis=(2, 3, 4))}
    yield Picture(name=f"project_{label(layer)}", title=title, caption=caption, figure=figure, numbers=numbers)
