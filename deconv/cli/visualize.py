"""`python -m deconv visualize`: images made to please a unit (feature visualization)."""

from typing import Annotated

import typer

from deconv.cli.options import Channels, check, command, numbers
from deconv.cli.output import in_terminal
from deconv.cli.subjects import looked_at
from deconv.cli.units import layer_of

_MOST = 12


@command
def visualize(
    request,
    layer: Annotated[str | None, typer.Option(help="Name of a layer [the classes, before their softmax].")] = None,
    channel: Channels = None,
    preset: Annotated[
        str | None,
        typer.Option(help="digits, photographs, yosinski-1 to yosinski-4 or erhan [by what the model takes]."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the optimisation [the preset's].")] = None,
):
    """Make images that a unit is most active for, and compare them with the strongest of the data.

    Without --channel at most 12 channels, or classes, drawn with --seed.

    \b
      python -m deconv visualize
      python -m deconv visualize --layer conv2 --channel 0-5
      python -m deconv visualize --model alexnet --layer conv5 --channel 3,17,42
    """
    channels = numbers("--channel", channel)
    check("--steps", steps, steps is None or steps >= 1, "at least 1")
    subject = looked_at(request)
    return subject, _pictures(subject, layer and layer_of(subject, layer), channels, preset, steps)


def _pictures(subject, layer, channels, preset, steps):
    from deconv import graph
    from deconv.features import visualize
    from deconv.figures import Picture
    from deconv.figures.part import part_of
    from deconv.inputs import check_channels
    from deconv.plotting import pixels
    from deconv.plotting.features import visualization_sheet
    from deconv.rules import label
    from deconv.scan import top_activations

    laid = graph.walk(subject.model)
    called = layer or laid.steps[-1].name
    count = graph.find(laid, called).output.shape[-1]
    channels = subject.channels(called, count, _MOST) if channels is None else check_channels(channels, count, called)
    options = {"seed": subject.seed, "progress": in_terminal(), **({} if steps is None else {"steps": steps})}
    found = visualize(subject.model, layer, channels.tolist(), preset, preprocess=subject.preprocess, **options)
    units = "channels" if layer else "classes"
    title = f"{called} of {subject.model.name}: images made for {len(channels)} of {count} {units}"
    caption = "Each image has been changed, step by step, to make one unit more active; the number is what it reaches"
    numbers = {"layer": called, "channels": channels, "scores": found.scores, "preset": preset}
    names = [str(channel) if layer else subject.class_names[channel] for channel in channels]
    told = [f"{name}: {score:.3g}" for name, score in zip(names, found.scores, strict=True)]
    if layer:
        seen = part_of(subject.data, subject.seed)
        tops = top_activations(subject.model, seen, layer, 1, preprocess=subject.preprocess, progress=in_terminal())
        numbers["strongest_in_data"] = tops[layer].values[channels, 0]
        told = [f"{text} (data {value:.3g})" for text, value in zip(told, numbers["strongest_in_data"], strict=True)]
        caption += f", in brackets the strongest activation of the channel in {seen.size:,} images of {seen.name}"
    figure = visualization_sheet({"": (pixels(found.images), told)}, title, columns=6, side=1.6)
    yield Picture(f"visualize_{label(called)}", title, caption + ".", figure, numbers)
