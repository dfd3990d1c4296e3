"""`python -m deconv top`: the images with the strongest activations of every channel (Fig. 2)."""

from typing import Annotated

import typer

from deconv.cli.layer_option import layers_of
from deconv.cli.options import BatchSize, Channels, Layers, Request, batches, check, command, numbers
from deconv.cli.output import in_terminal, note
from deconv.cli.subject_builder import requested_subject


@command
def top(
    request: Request,
    layer: Layers = None,
    channel: Channels = None,
    k: Annotated[int, typer.Option("--k", help="Number of images per channel.")] = 9,
    batch_size: BatchSize = None,
):
    """Find the strongest activations of every channel over all images, and show their projections and image patches.

    Without --layer, all convolutions are used; without --channel, channels of wide layers are drawn with --seed.

    \b
      python -m deconv top
      python -m deconv top --layer conv2 --channel 0-3
      python -m deconv top --model alexnet --layer conv5 --images my_photographs/
    """
    channels = numbers("--channel", channel)
    check("--k", k, k >= 1, "at least 1")
    sizes = batches(batch_size)
    subject = requested_subject(request)
    return subject, _pictures(subject, layers_of(subject, layer), channels, k, sizes)


def _pictures(subject, layers, channels, k, sizes):
    from deconv.figures import Picture
    from deconv.figures.fig2 import sheet_caption, top_data
    from deconv.figures.projecting import left_out
    from deconv.figures.subject import in_words
    from deconv.graph.keras_model import label

    for sheet in top_data(subject, layers, k, channels, progress=in_terminal(), **sizes):
        (count, k), shown = sheet.tops.ids.shape, sheet.channels
        if sheet.reason:
            note(left_out(sheet.layer, sheet.reason))
        which = in_words(len(shown), count) if channels is None else f"{len(shown)} of {count} channels"
        title = f"{sheet.layer} of {subject.model.name}: top {k} activations of {which}"
        results = {"layer": sheet.layer, "channels": shown}
        results["left_out"] = {"projection": sheet.reason} if sheet.reason else {}
        results |= {name: part[shown] for name, part in sheet.tops._asdict().items()}
        figure, caption = sheet.plot(title, scale=subject.scale), sheet_caption(subject, sheet, which)
        yield Picture(name=f"top_{label(sheet.layer)}", title=title, caption=caption, figure=figure, numbers=results)
