"""`python -m deconv health`: dead and repeated filters, co-adaptation, and the generalisation gap."""

from deconv.cli.images_option import images_of
from deconv.cli.options import BatchSize, Request, batches, command
from deconv.cli.subject_builder import requested_subject


@command
def health(request: Request, batch_size: BatchSize = None):
    """Compute the health of every layer with filters: dead and repeated filters, co-adaptation, generalisation gap.

    If the images have a training part and a test part, and no --split is given, the training images are used, and the
    gap between them and the test images is measured.

    \b
      python -m deconv health
      python -m deconv health --model own.keras --images my_pictures/ --preprocess unit
    """
    sizes = batches(batch_size)
    subject = requested_subject(request)
    from deconv.figures.health import health_pictures

    training, held_out = (_part(request, subject, part) for part in ("train", "test"))
    if request.split is None and training is not None and held_out is not None:
        subject = subject._replace(training=training, held_out=held_out)
    return subject, health_pictures(subject, **sizes)


def _part(request, subject, part):
    """A part of the images; None if it does not exist."""
    *size, channels = subject.data.image_shape
    named = subject.data.name if request.images is None else request.images
    try:
        return images_of(named, part, tuple(size), channels, request.data_dir, request.download)
    except ValueError:
        return None
