"""`python -m deconv verify`: check a model's deconvnet against independent derivations."""

from typing import Annotated

import typer

from deconv.cli.images_option import some_of
from deconv.cli.layer_option import layers_of
from deconv.cli.options import Layers, check, command
from deconv.cli.subject_builder import looked_at


@command
def verify(
    request,
    layer: Layers = None,
    count: Annotated[int, typer.Option(help="How many images, of as many classes.")] = 2,
):
    """Check every layer's deconvnet against derivations that do not use it. Exit status 1 if it does not hold.

    Residuals should be near the rounding error of the model's type, 1e-7 for float32; above 1e-5 they fail (1e-12 for
    float64, 0.01 for float16). Without --layer every convolution.

    \b
      python -m deconv verify
      python -m deconv verify --model own.keras --images mnist-5k --layer conv2 --layer predictions
    """
    check("--count", count, count >= 1, "at least 1")
    subject = looked_at(request)
    return subject, _pictures(subject, layers_of(subject, layer), count)


def _pictures(subject, layers, count):
    from deconv.cli.output import fail
    from deconv.deconvnet.verification import verify
    from deconv.figures import Picture
    from deconv.plotting.verification import verification_sheet

    images, *_, ids = some_of(subject, count)
    inputs = subject.prepared(images)
    found = [verify(subject.model, layer, inputs, seed=subject.seed) for layer in layers]
    title = f"The deconvnet of {subject.model.name}, checked"
    caption = (
        f"Left: relative residuals for {len(images)} images of {subject.data.name}, which should be near the rounding "
        "error of the model's type. Adjoint: the mirror against the transpose by automatic differentiation. Switches: "
        "pooled values against those that the switches point at. Gradient: the projection against the gradient with "
        "the rule of the rectifiers changed. Claims: what layers that say what they are mirrored as really compute. "
        "TF32 is off. Right: share of pooled units whose maximum another window shares."
    )
    largest = max(one.limit for one in found)
    numbers = {"image_ids": ids, "largest_allowed": largest, "layers": [one._asdict() for one in found]}
    yield Picture("verify", title, caption, verification_sheet(found, title), numbers)
    wrong = [one.layer for one in found if not one.holds]
    if wrong:
        fail(f"the deconvnet of {', '.join(wrong)} is not what it should be.", 1)
