"""`python -m deconv top`: the images with the strongest activations of every channel (Fig. 2)."""

from typing import Annotated

import typer

from deconv.cli.layer_option import layers_of
from deconv.cli.options import BatchSize, Channels, Layers, batches, check, command, numbers
from deconv.cli.output import in_terminal, note
from deconv.cli.subject_builder import looked_at


@command
def top(
    request,
    layer: Layers = None,
    channel: Channels = None,
    k: Annotated[int, typer.Option("--k", help="Images per channel.")] = 9,
    batch_size: BatchSize = None,
):
    """Find the strongest activations of every channel over all images, projected down, beside their patches.

    Without --layer every convolution; without --channel a part of a wide layer, drawn with --seed.

    \b
      python -m deconv top
      python -m deconv top --layer conv2 --channel 0-3
      python -m deconv top --model alexnet --layer conv5 --images my_photographs/
    """
    channels = numbers("--channel", channel)
    check("--k", k, k >= 1, "at least 1")
    sizes = batches(batch_size)
    subject = looked_at(request)
    return subject, _pictures(subject, layers_of(subject, layer), channels, k, sizes)


def _pictures(subject, layers, channels, k, sizes):
    import numpy as np

    from deconv.deconvnet.projection import Deconvnet
    from deconv.figures import Picture
    from deconv.figures.projecting import left_out, why_not
    from deconv.figures.subject import in_words
    from deconv.graph.keras_model import label
    from deconv.plotting import crop, pixels, top_sheet
    from deconv.topk.scan import top_activations
    from deconv.validation import check_channels

    found = top_activations(
        subject.model, subject.data, layers, k, preprocess=subject.preprocess, progress=in_terminal(), **sizes
    )
    net = Deconvnet(subject.model)
    for layer, tops in found.items():
        count, kept = tops.ids.shape
        shown = subject.channels(layer, count) if channels is None else check_channels(channels, count, layer)
        ids, windows = tops.ids[shown], tops.windows[shown].reshape(-1, 4)
        images, numbers = np.unique(ids, return_inverse=True)
        images, numbers = subject.pick(images), numbers.ravel()
        units = np.repeat(shown, kept), tops.positions[shown].reshape(-1, 2)
        asleep = tops.values[shown][:, :, None, None, None] <= 0  # an inactive unit has no patch
        reason = why_not(net, layer)
        sides = [crop(pixels(images[numbers]), windows)]
        if reason:
            note(left_out(layer, reason))
        else:
            projections = net.project_units(subject.prepared(images), layer, *units, numbers=numbers, **sizes)
            sides.insert(0, subject.shown(projections, windows))
        sides = [np.where(asleep, np.nan, side.reshape(*ids.shape, *side.shape[1:])) for side in sides]
        which = in_words(len(shown), count) if channels is None else f"{len(shown)} of {count} channels"
        title = f"{layer} of {subject.model.name}: top {kept} activations of {which}"
        caption = (
            f"For each of {which}: left, the {kept} strongest units over {subject.data.size:,} "
            f"images of {subject.data.name}, one per image, projected down by the deconvnet; right, what each of them "
            f"saw, blue where that lies outside the image. Every projection is divided by {subject.scale}; grey is "
            "zero, light excites, dark inhibits."
        )
        if reason:
            caption = (
                f"For each of {which} what its {kept} strongest units over {subject.data.size:,} images of "
                f"{subject.data.name}, one per image, saw, blue where that lies outside the image."
                f"{left_out(layer, reason)}"
            )
        columns = 2 if sides[-1].shape[3] > 90 else 3 if len(shown) <= 9 else 4
        figure = top_sheet(
            None if reason else sides[0],
            sides[-1],
            shown,
            title,
            values=tops.values[shown],
            columns=min(columns, len(shown)),
            tiles=kept if kept < 4 else int(np.ceil(np.sqrt(kept))),
            scale=subject.scale,
        )
        told = {"layer": layer, "channels": shown, "left_out": {"projection": reason} if reason else {}}
        told |= {name: part[shown] for name, part in tops._asdict().items()}
        yield Picture(f"top_{label(layer)}", title, caption, figure, told)
