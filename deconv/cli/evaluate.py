"""`python -m deconv evaluate`: top-1 and top-5 accuracy on labelled images."""

from typing import Annotated

import typer

from deconv.cli.images_option import images_of
from deconv.cli.options import Request, check, command
from deconv.cli.output import in_terminal
from deconv.cli.subject_builder import requested_subject


@command
def evaluate(
    request: Request,
    crop: Annotated[
        float | None,
        typer.Option(
            help="Share of an image's shorter side that the central crop covers [default: 0.875 for colour images, as "
            "usual for ImageNet; 1 for grey images]."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Number of images computed at a time; fewer need less memory.")] = 32,
):
    """Print the top-1 and top-5 accuracy on images of known classes. Nothing is written.

    The shorter side of every image is resized to the input size of the model divided by --crop (224 / 0.875 = 256), and
    its centre is cropped. Classes of a folder are its sub-folders; where their names contain WordNet ids, as in
    ImageNet's folders, they are ImageNet's classes.

    \b
      python -m deconv evaluate
      python -m deconv evaluate --model efficientnet-lite0 --images photographs/
      python -m deconv evaluate --model own.keras --images my_pictures/ --preprocess unit --crop 1
    """
    check("--crop", crop, crop is None or 0 < crop <= 1, "above 0 and at most 1")
    check("--batch-size", batch_size, batch_size >= 1, "at least 1")
    subject = requested_subject(request)
    found = _accuracy(request, subject, crop, batch_size)
    error1, error5 = found.standard_errors
    out = f"; {found.left_out:,} of other classes or of none left out" if found.left_out else ""
    typer.echo(
        f"{subject.model.name} on {subject.data.name}: top-1 {found.top1:.2%} (standard error {error1:.2%}), top-5 "
        f"{found.top5:.2%} ({error5:.2%}) of {found.images:,} images; central crop{out}."
    )


def _accuracy(request, subject, crop, batch_size):
    """The accuracy on images that are larger than the model's input, cropped."""
    from deconv.datasets.sampling import check_one_label
    from deconv.evaluation.top_accuracy import top_accuracy

    data = subject.data
    check_one_label(data.listing()[0], data.name)
    if not data.class_names:
        raise ValueError(f"The images of '{data.name}' have no classes; put them into one sub-folder per class.")
    *sides, channels = data.image_shape
    crop = crop or (1 if channels == 1 else 0.875)
    if crop < 1:
        size = tuple(round(side / crop) for side in sides)
        named = data.name if request.images is None else request.images
        data = images_of(named, data.split, size, channels, request.data_dir, request.download)
    batches = data.dataset.map(lambda image, label, _: (image, label)).batch(batch_size).prefetch(2)
    return top_accuracy(
        subject.model, batches.as_numpy_iterator(), subject.targets, subject.preprocess, progress=in_terminal()
    )
