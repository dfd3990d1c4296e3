"""`python -m deconv explain`: attribution maps of a class or unit by all methods, and their deletion and insertion."""

from typing import Annotated

import typer

from deconv.cli.images_option import draw_images
from deconv.cli.layer_option import class_of, layers_of
from deconv.cli.options import BatchSize, Request, Target, batches, check, command
from deconv.cli.output import in_terminal
from deconv.cli.subject_builder import requested_subject


@command
def explain(
    request: Request,
    target: Target = None,
    layer: Annotated[str | None, typer.Option(help="Explain a channel of this layer; --target is its number.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="gradient, input_x_gradient, smooth_grad, integrated_gradients, guided_backprop, deconvnet, grad_cam, "
            "lrp or occlusion; may be repeated [default: all that apply]."
        ),
    ] = None,
    count: Annotated[int, typer.Option(help="Number of images, spread over the classes; a figure for each.")] = 1,
    steps: Annotated[int, typer.Option(help="Number of steps in which pixels are deleted and inserted.")] = 50,
    batch_size: BatchSize = None,
):
    """Attribute a class score, or a unit, to the pixels of an image by every method.

    Figures show the attribution maps, the computing times, and the deletion and insertion curves.

    \b
      python -m deconv explain
      python -m deconv explain --model efficientnet-lite0 --images photograph.jpg --target "golf ball"
      python -m deconv explain --layer conv2 --target 7 --method gradient --method deconvnet
    """
    check("--count", count, count >= 1, "at least 1")
    check("--steps", steps, steps >= 1, "at least 1")
    holds = layer is None or target is None or target.isdecimal()
    check("--target", repr(target), holds, f"the number of a channel of {layer}")
    size = batches(batch_size)
    subject = requested_subject(request)
    if layer is None:
        if not subject.has_classes:
            raise ValueError(
                f"--layer: model '{subject.model.name}' has no class outputs to explain. Name a layer, or choose a "
                "network that has them, for example --model efficientnet-lite0."
            )
        number = class_of(subject, target)
    else:
        layer, number = layers_of(subject, [layer])[0], None if target is None else int(target)
    return subject, _pictures(subject, number, layer, method, count, steps, size)


def _pictures(subject, target, layer, methods, count, steps, size):
    from deconv import graph
    from deconv.evaluation.method_comparison import explain
    from deconv.figures import Picture
    from deconv.graph.keras_model import label
    from deconv.graph.model_output import output_kind
    from deconv.plotting.explain import explanation_sheet

    images, names, labels, ids = draw_images(subject, count)
    kind = output_kind(graph.walk(subject.model))
    for image, name, of_class, id in zip(images, names, labels, ids, strict=True):
        explanation = explain(
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
        index = explanation.target
        what = f"channel {index} of {layer}" if layer else f"'{subject.class_names[index]}'"
        score = "activation" if layer else f"{kind} of {what}"
        where = f"an image of '{name}'" if of_class >= 0 else name
        title = f"Attribution of {what} in {where}: {subject.model.name}"
        omitted = "".join(f" Omitted: {method} ({reason})" for method, reason in explanation.left_out.items())
        caption = (
            f"Attribution maps of one unit in one image of {subject.data.name}, each divided by {subject.scale}; grey "
            "is zero. Curves: pixels are deleted, or inserted into a blurred image, most important first. Times are "
            f"those of the second run.{omitted}"
        )
        sheet = explanation_sheet(
            explanation, title, score=score, in_colour=subject.in_colour, contrast=subject.contrast
        )
        numbers = {"score": score, "image_id": id, "label": of_class, **_numbers(explanation)}
        yield Picture(
            name=f"explain_{label(layer) + '_' if layer else ''}{id}",
            title=title,
            caption=caption,
            figure=sheet,
            numbers=numbers,
        )


def _numbers(explanation):
    """The numbers of an explanation to store with its figure."""
    return {
        "layer": explanation.layer,
        "target": explanation.target,
        "unit": explanation.unit,
        "areas": explanation.curves.areas,
        "shares": explanation.curves.shares,
        "left_out": explanation.left_out,
        "deletion": explanation.deletion,
        "insertion": explanation.insertion,
        "methods": list(explanation.maps),
    }


def _usual_size(height, width):
    """The batch size that needs no more memory than 32 images of 224 x 224, the default batch size of `explain`."""
    return max(1, min(32, 32 * 224**2 // (height * width)))
