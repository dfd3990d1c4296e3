"""Activation maps of every layer, for one image of each class."""

from __future__ import annotations

from collections.abc import Iterator

from deconv import graph
from deconv.deconvnet.recording import activations
from deconv.figures.picture import Picture
from deconv.figures.subject import Subject, in_words
from deconv.graph.keras_model import label
from deconv.plotting import activation_sheet, pixels, unit_strips


def activation_pictures(subject: Subject) -> Iterator[Picture]:
    """Draw the activation maps of every layer with weights and every max pooling, one figure per layer.

    Of the layers with maps of a deep network, only those of `Subject.drawn_filters` and the poolings are drawn.
    """
    images, labels, ids = subject.examples()
    names = [subject.data.class_names[label] for label in labels]
    steps = [step for step in graph.walk(subject.model).steps if step.layer.weights or step.name in subject.pools()]
    drawn = subject.drawn_filters()
    if len(drawn) < len(subject.filters()):
        drawn += subject.pools()
        steps = [step for step in steps if step.name in drawn or len(step.output.shape) < 3]
    recorded = activations(subject.model, subject.prepared(images), [step.name for step in steps])
    for layer, maps in recorded.items():
        title = f"{layer} of {subject.model.name}: activations for one image of each of {len(images)} classes"
        numbers = {"layer": layer, "image_ids": ids, "labels": labels, "activations": maps}
        rows = f"Rows: one image of each of {len(images)} classes of {subject.data.name}. "
        if maps.ndim == 4:
            channels = subject.channels(layer, maps.shape[-1], 32)
            which, size = in_words(len(channels), maps.shape[-1]), "×".join(map(str, maps.shape[1:3]))
            caption = rows + f"Columns: {which}, maps of {size}, on one scale."
            numbers |= {"channels": channels, "activations": maps[..., channels]}
            figure = activation_sheet(pixels(images), numbers["activations"], names, title, channels)
        else:
            caption = rows + f"Columns: the {maps.shape[1]} units, on one scale."
            units = subject.class_names if maps.shape[1] == len(subject.class_names) <= 100 else None
            figure = unit_strips(maps, names, title, units)
        yield Picture(name=f"activations_{label(layer)}", title=title, caption=caption, figure=figure, numbers=numbers)
