"""`python -m deconv verify`: whether the deconvnet of a model is what it should be."""

from typing import Annotated

import typer

from deconv.cli.images import some_of
from deconv.cli.options import Layers, check, command
from deconv.cli.subjects import looked_at
from deconv.cli.units import layers_of

_LARGEST = 1e-3


@command
def verify(
    request,
    layer: Layers = None,
    count: Annotated[int, typer.Option(help="How many images, of as many classes.")] = 2,
):
    """Check every layer's deconvnet against derivations that do not use it. Exit status 1 if it does not hold.

    Residuals should be near the rounding error of the model's type, 1e-7 for float32; above 0.001 they fail. Without
    --layer every convolution.

    \b
      python -m deconv verify
      python -m deconv verify --model own.keras --images mnist-5k --layer conv2 --layer predictions
    """
    check("--count", count, count >= 1, "at least 1")
    subject = looked_at(request)
    return subject, _pictures(subject, layers_of(subject, layer), count)


def _pictures(subject, layers, count):
    from deconv.cli.output import fail
    from deconv.figures import Picture
    from deconv.plotting.verification import verification_sheet
    from deconv.verify import verify

    images, *_, ids = some_of(subject, count)
    inputs = subject.preprocess(images)
    found = [verify(subject.model, layer, inputs, seed=subject.seed) for layer in layers]
    title = f"The deconvnet of {subject.model.name}, checked"
    caption = (
        f"Left: relative residuals for {len(images)} images of {subject.data.name}, which should be near the rounding "
        "error of the model's type. Adjoint: the mirror against the transpose by automatic differentiation. Switches: "
        "pooled values against those that the switches point at. Gradient: the projection against the gradient with "
        "the rule of the rectifiers changed. Right: share of pooled units whose maximum another window shares."
    )
    numbers = {"image_ids": ids, "largest_allowed": _LARGEST, "layers": [one._asdict() for one in found]}
    yield Picture("verify", title, caption, verification_sheet(found, title), numbers)
    wrong = [one.layer for one in found if not all(residual <= _LARGEST for residual in residuals(one))]
    if wrong:
        fail(f"the deconvnet of {', '.join(wrong)} is not what it should be.", 1)


def residuals(one):
    """All numbers of a `Verification` that should be zero."""
    return one.adjoint_residual, one.gradient_difference, *one.switch_replay.values()
