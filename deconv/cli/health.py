"""`python -m deconv health`: dead and repeated filters, co-adaptation, and the generalisation gap."""

from deconv.cli.images_option import images_of
from deconv.cli.options import command
from deconv.cli.subject_builder import looked_at


@command
def health(request):
    """Examine every layer with filters: dead and repeated ones, co-adaptation, the gap to unseen images.

    Where the images have a training part and a test part, and no --split is given, the first are examined and the gap
    to the second is measured.

    \b
      python -m deconv health
      python -m deconv health --model own.keras --images my_pictures/ --preprocess unit
    """
    subject = looked_at(request)
    from deconv.figures.health import health_pictures

    training, held_out = (_part(request, subject, part) for part in ("train", "test"))
    if request.split is None and training is not None and held_out is not None:
        subject = subject._replace(training=training, held_out=held_out)
    return subject, health_pictures(subject)


def _part(request, subject, part):
    """A part of the images; None if it does not exist."""
    *size, channels = subject.data.image_shape
    named = subject.data.name if request.images is None else request.images
    try:
        return images_of(named, part, tuple(size), channels, request.data_dir, request.download)
    except ValueError:
        return None
