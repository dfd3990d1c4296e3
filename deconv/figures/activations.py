"""The activation images of every layer, for one image of each class."""

from deconv import graph
from deconv.figures.record import Picture
from deconv.plotting import activation_sheet, pixels, unit_strips
from deconv.recording import activations
from deconv.rules import label


def activation_pictures(subject):
    images, labels, ids = subject.examples()
    names = [subject.data.class_names[label] for label in labels]
    steps = [step for step in graph.walk(subject.model).steps if step.layer.weights or step.name in subject.pools()]
    found = activations(subject.model, subject.preprocess(images), [step.name for step in steps])
    for layer, maps in found.items():
        title = f"{layer} of {subject.model.name}: activations for one image of each class"
        numbers = {"layer": layer, "image_ids": ids, "labels": labels, "activations": maps}
        rows = f"Rows: one image of each class of {subject.data.name}. "
        if maps.ndim == 4:
            size = "×".join(str(size) for size in maps.shape[1:])
            caption = rows + f"Columns: the channels, maps of {size}, on one scale."
            figure = activation_sheet(pixels(images), maps, names, title)
        else:
            caption = rows + f"Columns: the {maps.shape[1]} units, on one scale."
            units = subject.data.class_names if maps.shape[1] == len(subject.data.class_names) else None
            figure = unit_strips(maps, names, title, units)
        yield Picture(f"activations_{label(layer)}", title, caption, figure, numbers)
