"""`python -m deconv explain`: attribution maps of a class or unit by all methods, and their deletion and insertion."""

from typing import Annotated

import typer

from deconv.cli.images_option import some_of
from deconv.cli.layer_option import class_of, layers_of
from deconv.cli.options import BatchSize, Target, batches, check, command
from deconv.cli.output import in_terminal
from deconv.cli.subject_builder import looked_at


@command
def explain(
    request,
    target: Target = None,
    layer: Annotated[str | None, typer.Option(help="Explain a channel of this layer, which --target numbers.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="gradient, input_x_gradient, smooth_grad, integrated_gradients, guided_backprop, deconvnet, grad_cam, "
            "lrp or occlusion; may be repeated [all that apply]."
        ),
    ] = None,
    count: Annotated[int, typer.Option(help="How many images, of as many classes; a picture for each.")] = 1,
    steps: Annotated[int, typer.Option(help="In how many shares pixels are removed and given back.")] = 50,
    batch_size: BatchSize = None,
):
    """Explain a class, or a unit, in an image by every method: maps, times, deletion and insertion curves.

    \b
      python -m deconv explain
      python -m deconv explain --model alexnet --images photograph.jpg --target "golf ball"
      python -m deconv explain --layer conv2 --target 7 --method gradient --method deconvnet
    """
    check("--count", count, count >= 1, "at least 1")
    check("--steps", steps, steps >= 1, "at least 1")
    holds = layer is None or target is None or target.isdecimal()
    check("--target", repr(target), holds, f"the number of a channel of {layer}")
    size = batches(batch_size)
    subject = looked_at(request)
    if layer is None:
        target = class_of(subject, target)
    else:
        layer, target = layers_of(subject, [layer])[0], None if target is None else int(target)
    return subject, _pictures(subject, target, layer, method, count, steps, size)


def _pictures(subject, target, layer, methods, count, steps, size):
    from deconv import graph
    from deconv.evaluation.method_comparison import explain
    from deconv.figures import Picture
    from deconv.graph.keras_model import label
    from deconv.graph.model_output import output_kind
    from deconv.plotting.explain import explanation_sheet

    images, names, labels, ids = some_of(subject, count)
    kind = output_kind(graph.walk(subject.model))
    for image, name, of_class, id in zip(images, names, labels, ids, strict=True):
        found = explain(
            subject.model,
            image,
            target,
            layer,
            methods or None,
            preprocess=subject.preprocess,
            fill=subject.fill,
            steps=steps,
            square=subject.square,
            stride=subject.stride,
            runs=2,
            seed=subject.seed,
            progress=in_terminal(),
            **({"batch_size": _usual_size(*image.shape[:2])} | size),
        )
        what = f"channel {found.target} of {layer}" if layer else f"'{subject.class_names[found.target]}'"
        score = "activation" if layer else f"{kind} of {what}"
        where = f"an image of '{name}'" if of_class >= 0 else name
        title = f"What speaks for {what} in {where}: {subject.model.name}"
        left_out = "".join(f" Left out: {method} ({reason})" for method, reason in found.left_out.items())
        caption = (
            f"Maps of one unit in one image of {subject.data.name}, each divided by {subject.scale}; grey is "
            "zero. Curves: pixels are removed, or given back to a blurred image, most important first; times are those "
            f"of the second run.{left_out}"
        )
        sheet = explanation_sheet(found, title, score=score, in_colour=subject.in_colour, contrast=subject.contrast)
        numbers = {
            "layer": found.layer,
            "score": score,
            "target": found.target,
            "image_id": id,
            "label": of_class,
            "unit": found.unit,
        }
        numbers |= {"areas": found.curves.areas, "shares": found.curves.shares, "left_out": found.left_out}
        numbers |= {"deletion": found.deletion, "insertion": found.insertion, "methods": list(found.maps)}
        yield Picture(f"explain_{label(layer) + '_' if layer else ''}{id}", title, caption, sheet, numbers)


def _usual_size(height, width):
    """The batch size that needs no more memory than 32 images of 224 x 224, the default batch size of `explain`."""
    return max(1, min(32, 32 * 224**2 // (height * width)))
