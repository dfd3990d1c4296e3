"""`python -m deconv verify`: check a model's deconvnet against independent derivations."""

from typing import Annotated

import typer

from deconv.cli.images_option import draw_images
from deconv.cli.layer_option import layers_of
from deconv.cli.options import Layers, Request, check, command
from deconv.cli.subject_builder import requested_subject


@command
def verify(
    request: Request,
    layer: Layers = None,
    count: Annotated[int, typer.Option(help="Number of images, spread over the classes.")] = 2,
):
    """Verify the deconvnet of a model against independent derivations. The exit status is 1 if a layer fails.

    Residuals should be near the rounding error of the model's dtype, 1e-7 for float32. A layer fails above 1e-5 (1e-12
    for float64, 0.01 for float16). Without --layer, all convolutions are verified.

    \b
      python -m deconv verify
      python -m deconv verify --model own.keras --images mnist-5k --layer conv2 --layer predictions
    """
    check("--count", count, count >= 1, "at least 1")
    subject = requested_subject(request)
    return subject, _pictures(subject, layers_of(subject, layer), count)


def _pictures(subject, layers, count):
    from deconv.cli.output import fail
    from deconv.deconvnet.verification import verify
    from deconv.figures import Picture
    from deconv.figures.subject import count_of
    from deconv.plotting.verification import verification_sheet

    images, *_, ids = draw_images(subject, count)
    inputs = subject.prepared(images)
    results = [verify(subject.model, layer, inputs, seed=subject.seed) for layer in layers]
    title = f"Verification of the deconvnet of {subject.model.name}"
    caption = (
        f"Left: relative residuals for {count_of(len(images), 'image')} of {subject.data.name}, which "
        "should be near the rounding error of the model's dtype. Adjoint: the mirror layers against the "
        "transpose by automatic differentiation. Switches: pooled values against the values at the switches. Gradient: "
        "the projection against the gradient with modified rectifiers. Claims: the output of layers that declare how "
        "they are mirrored against that declaration. TF32 is off. Right: share of pooled units whose maximum is also "
        "the maximum of another window."
    )
    largest = max(result.limit for result in results)
    numbers = {"image_ids": ids, "largest_allowed": largest, "layers": [result._asdict() for result in results]}
    yield Picture(
        name="verify", title=title, caption=caption, figure=verification_sheet(results, title), numbers=numbers
    )
    failed = [result.layer for result in results if not result.holds]
    if failed:
        fail(
            f"the deconvnet of {', '.join(failed)} differs from its independent derivations by more than the rounding "
            "error; see the residuals printed above.",
            1,
        )
