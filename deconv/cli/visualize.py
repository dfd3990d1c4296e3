"""`python -m deconv visualize`: images optimised to activate a unit (feature visualization)."""

from typing import Annotated

import typer

from deconv.cli.layer_option import layer_of
from deconv.cli.options import BatchSize, Channels, Request, batches, check, command, numbers
from deconv.cli.output import in_terminal, note
from deconv.cli.subject_builder import requested_subject

_MOST = 12
_BATCH = 64


@command
def visualize(
    request: Request,
    layer: Annotated[
        str | None, typer.Option(help="Name of a layer [default: the class scores before the softmax].")
    ] = None,
    channel: Channels = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="digits, photographs, yosinski-1 to yosinski-4 or erhan [default: by the input of the model]."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Number of optimisation steps [default: that of the preset].")
    ] = None,
    batch_size: BatchSize = None,
):
    """Optimise images that activate a unit or a class, and compare their activation with the maximum over the data.

    Without --channel, at most 12 channels or classes are drawn with --seed.

    \b
      python -m deconv visualize
      python -m deconv visualize --layer conv2 --channel 0-5
      python -m deconv visualize --model alexnet --layer conv5 --channel 3,17,42
    """
    channels = numbers("--channel", channel)
    check("--steps", steps, steps is None or steps >= 1, "at least 1")
    sizes = batches(batch_size)
    subject = requested_subject(request)
    return subject, _pictures(subject, layer and layer_of(subject, layer), channels, preset, steps, sizes)


def _pictures(subject, layer, channels, preset, steps, sizes):
    import numpy as np

    from deconv import graph
    from deconv.features import visualize
    from deconv.figures import Picture
    from deconv.figures.image_subset import part_of
    from deconv.graph.keras_model import label
    from deconv.graph.model_output import output_step
    from deconv.plotting import pixels
    from deconv.plotting.features import visualization_sheet
    from deconv.validation import check_channels

    model_graph = graph.walk(subject.model)
    step = output_step(model_graph) if layer is None else graph.find(model_graph, layer)
    called, count = step.name, step.output.shape[-1]
    channels = subject.channels(called, count, _MOST) if channels is None else check_channels(channels, count, called)
    options = {"seed": subject.seed, "progress": in_terminal(), **({} if steps is None else {"steps": steps}), **sizes}
    result = visualize(subject.model, layer, channels.tolist(), preset, preprocess=subject.preprocess, **options)
    units = "channels" if layer else "classes"
    title = f"{called} of {subject.model.name}: images optimised for {len(channels)} of {count} {units}"
    caption = "Each image has been optimised to activate one unit; the number is the activation that it reaches"
    numbers = {"layer": called, "channels": channels, "scores": result.scores, "preset": preset}
    names = [str(channel) if layer else subject.class_names[channel] for channel in channels]
    texts = [f"{name}: {score:.3g}" for name, score in zip(names, result.scores, strict=True)]
    data = part_of(subject.data, subject.seed)
    strongest, after = _strongest(subject, layer, data, **sizes)[:, channels]
    rectified = layer is not None and np.array_equal(after, np.maximum(strongest, 0))
    shown = after if rectified else strongest  # images are optimised for the value before the activation function
    texts = [f"{text} (data {value:.3g})" for text, value in zip(texts, shown, strict=True)]
    below = result.scores < strongest
    numbers |= {"strongest_in_data": shown, "below_strongest": channels[below]}
    caption += f", in brackets its maximum over {data.size:,} images of {data.name}" + (
        "" if rectified else ", both before the activation function of the layer"
    )
    if below.any():
        worst = int(np.argmin(np.where(below, result.scores - strongest, np.inf)))
        note(
            f"the optimised images of {below.sum()} of {len(channels)} {units} have lower activations than the "
            f"strongest image of {data.name}; the largest difference is that of {names[worst]} of {called}, "
            f"{result.scores[worst]:.3g} instead of {strongest[worst]:.3g}. Give more --steps, or another --preset."
        )
    figure = visualization_sheet({"": (pixels(result.images), texts)}, title, columns=6, side=1.6)
    yield Picture(name=f"visualize_{label(called)}", title=title, caption=caption + ".", figure=figure, numbers=numbers)


def _strongest(subject, layer, data, batch_size=_BATCH):
    """Maximum of each channel of a layer, or of the output, over images: before and after its activation function.

    Returns:
        `(before, after)`, each `(channels,)`.
    """
    import numpy as np
    import tensorflow as tf
    from tqdm import tqdm

    from deconv.attribution.compiled_network import network_of
    from deconv.graph import modified_gradients
    from deconv.graph.compilation import compile_function

    model_graph = network_of(subject.model, layer, None).graph
    image, top = model_graph.inputs[0], model_graph.steps[-1]

    def peaks(images):
        values, before = modified_gradients.run(model_graph, images)
        both = tf.stack([tf.cast(maps, tf.float32) for maps in (before[top.name], values[top.output])])
        return tf.reduce_max(tf.reshape(both, [2, -1, both.shape[-1]]), axis=1)

    maxima = compile_function(peaks, tf.TensorSpec((None, *image.shape), image.dtype))
    total = -(-data.size // batch_size)
    progress = tqdm(data.dataset.batch(batch_size), total=total, unit=" batches", disable=not in_terminal())
    parts = [maxima(np.asarray(subject.prepared(images.numpy()), image.dtype)).numpy() for images, *_ in progress]
    return np.max(parts, axis=0)
