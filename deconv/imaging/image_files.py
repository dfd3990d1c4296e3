"""Read an image file as an upright array of 8-bit pixels; errors are one line that names the file.

Pillow decodes. Only the formats in `FORMATS` are tried, whatever the file's suffix: an EPS file named `.png` would be a
program for Ghostscript. NumPy and Pillow are imported when needed, TensorFlow only for 16-bit PNG files.

Conversion of the pixels:

- The EXIF orientation is applied, as in every viewer.
- 16 bits are converted to 8 by `round(value * 255 / white)`. White is 65535 (that is, values are divided by 257) or,
  for fewer bits in 16-bit samples, `2**bits - 1`: if TIFF's BitsPerSample or MaxSampleValue says so; if a PNG's sBIT
  chunk says so and the values use the lower bits; and 4095 if nothing says so and no value exceeds 4095, because such
  an image would otherwise be nearly black. 16-bit colour TIFF files are read by Pillow, which keeps the upper 8 bits.
- Transparency is dropped, as by Keras's `load_img`: a transparent pixel has its stored colour.
- CMYK, YCbCr, palettes and single bits are converted to RGB or grey by Pillow's `convert`, without colour profiles.
- Of several frames or pages the first is read.
"""

import contextlib
import os
import stat
import warnings
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
}
"""Pillow's names of the supported formats, and their file suffixes."""
SUFFIXES = tuple(suffix for endings in FORMATS.values() for suffix in endings)
OTHER_SUFFIXES = (
    *(".avif", ".heic", ".heif", ".jp2", ".jpe", ".jfif", ".jxl", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".ico"),
    *(".svg", ".psd", ".eps", ".dng", ".cr2", ".nef", ".arw", ".raw"),
)
"""Suffixes of other image formats, which are not supported."""
MOST_PIXELS = 178_956_970
"""Maximum number of pixels: Pillow's own limit, twice its `MAX_IMAGE_PIXELS`."""

_ORIENTATION = 0x0112
_WIDTH, _HEIGHT, _BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE_VALUE = 256, 257, 258, 262, 281
_GREY_MODES = ("1", "L", "LA", "La")
_TWELVE_BITS = 4095


def printable(path: str | os.PathLike) -> str:
    """Return a path or name as text that any terminal, file or figure can show.

    Bytes that are not UTF-8, line breaks and control characters are written as escapes, `\\xe9`.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(
        part if part.isprintable() or part == " " else part.encode("unicode_escape").decode() for part in text
    )


def header(file: str | os.PathLike) -> tuple[tuple[int, int], bool]:
    """Return `(height, width)` of an upright image, and whether it is grey, without decoding its pixels.

    Raises:
        ValueError: If it is not a readable image; the message is one line.
    """
    with _opened(file) as (stream, image):
        width, height = image.size
        if image.format == "TIFF":  # newer versions of Pillow report the size after turning
            width, height = image.tag_v2[_WIDTH], image.tag_v2[_HEIGHT]
        turned = _orientation(image, stream) >= 5
        grey = image.mode in _GREY_MODES or image.mode.startswith("I")
        return ((width, height) if turned else (height, width)), grey


def read(file: str | os.PathLike, grey: bool = False) -> "np.ndarray":
    """Read the pixels of an image file.

    Args:
        file: Path.
        grey: Whether to convert to one channel.

    Returns:
        uint8 `(height, width, 3)`, or `(height, width, 1)` if `grey`.

    Raises:
        ValueError: If it is not a readable image; the message is one line.
    """
    import numpy as np
    from PIL import Image

    with _opened(file) as (stream, image):
        image.load()
        deep = _deep(image, stream)
        eight_bit = image if deep is None else Image.fromarray(deep)
        pixels = _upright(np.asarray(eight_bit.convert("L" if grey else "RGB")), _orientation(image, stream))
    return np.ascontiguousarray(pixels[..., None] if grey else pixels)


def check(file: str | os.PathLike) -> None:
    """Check that a file is an image that can be decoded completely.

    Raises:
        ValueError: If not; the message is one line.
    """
    with _opened(file) as (_, image):
        image.load()


def to_eight_bits(values: "np.ndarray", bits: int = 16) -> "np.ndarray":
    """Compute `round(values * 255 / (2**bits - 1))` of integers in that range, as uint8."""
    import numpy as np

    white = 2**bits - 1
    return ((values.astype(np.uint32) * 510 + white) // (2 * white)).astype(np.uint8)


@contextlib.contextmanager
def _opened(file) -> Iterator[tuple[IO[bytes], Any]]:
    """Open a file and the header of its image; all errors inside are converted to one line."""
    from PIL import Image

    _accept_large(Image)
    name = printable(file)
    try:
        with open(file, "rb", opener=_open_regular) as stream, Image.open(stream, formats=tuple(FORMATS)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            yield stream, image
    except Image.DecompressionBombError:
        raise ValueError(
            f"The image '{name}' has, or declares, more than {MOST_PIXELS / 1e6:.0f} million pixels. Reduce its size, "
            "or remove it."
        ) from None
    except Image.UnidentifiedImageError:
        empty = not os.path.getsize(file)
        kinds = ", ".join(FORMATS)
        raise ValueError(
            f"The image '{name}' cannot be read: it is {'empty' if empty else f'damaged, or none of {kinds}'}. "
            "Save it as PNG, or remove it."
        ) from None
    except _NotRegular as error:
        raise ValueError(f"'{name}' is not an image file: it is {error}. Remove it.") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise ValueError(f"The image '{name}' cannot be read: {why}. Save it again, or remove it.") from error
    except Exception as error:  # the decoders raise various exceptions for damaged data
        why = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"The image '{name}' cannot be read: {why}. Save it again, or remove it.") from error


class _NotRegular(Exception):
    """Raised for a path that is not a regular file."""


def _open_regular(path, flags):
    """Open a regular file; a folder, a pipe (which would block), a device or a broken link is refused."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise _NotRegular("a broken link" if os.path.islink(path) else "missing") from None
    if stat.S_ISDIR(mode):
        raise _NotRegular("a folder")
    if not stat.S_ISREG(mode):
        raise _NotRegular("a pipe, a socket or a device")
    return os.open(path, flags)


def _accept_large(Image):
    """Suppress Pillow's warning about images up to `MOST_PIXELS`, unless the user has set filters for it."""
    wanted = Image.DecompressionBombWarning
    if not any(action == "ignore" and category is wanted for action, _, category, *_ in warnings.filters):
        warnings.filterwarnings("ignore", category=wanted, append=True)


def _orientation(image, stream):
    """The EXIF orientation, 1 to 8; 1 (upright) if it is missing or damaged."""
    if image.format == "PNG" and not _may_hold_exif(stream):
        return 1  # Pillow would decode the whole image to search for data after it
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # the pixels may be intact even if the EXIF data are not
        return 1
    return orientation if orientation in range(1, 9) else 1


def _upright(pixels, orientation):
    """Turn pixels `(rows, columns, ...)` upright, given the EXIF orientation."""
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return turned[::rows, ::columns]


def _deep(image, stream):
    """Convert an image with more than 8 bits per sample: `(height, width)` or `(height, width, 3)`; None for others."""
    import numpy as np

    if image.format == "PNG":
        return _deep_png(stream)
    tags = getattr(image, "tag_v2", {})
    if image.mode.startswith("F"):
        raise ValueError("its values are floating point, so the value of white is not known; save it with 8 bits")
    if image.mode.startswith("I"):
        return _deep_grey(np.asarray(image), tags)
    if max(np.atleast_1d(tags.get(_BITS_PER_SAMPLE, 8))) > 8 and np.asarray(image).max() <= _TWELVE_BITS >> 8:
        raise ValueError("it would be nearly black: it has 12 bits in 16-bit samples; save it as PNG, or with 8 bits")
    return None


def _deep_grey(values, tags):
    import numpy as np

    most = int(np.max(tags.get(_MAX_SAMPLE_VALUE, 0)))
    bits = int(np.max(tags.get(_BITS_PER_SAMPLE, 16)))
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its values are not from 0 to 65535; save it with 8 or 16 bits")
    if values.max() <= most < 65535:
        bits = most.bit_length()
    elif bits >= 16:
        bits = 12 if values.max() <= _TWELVE_BITS else 16
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero
        values = 2**bits - 1 - values.astype(np.int64)
    return to_eight_bits(values, bits)


def _deep_png(stream):
    stream.seek(0)
    head = stream.read(26)
    if head[24] != 16:
        return None
    import numpy as np
    import tensorflow as tf

    colour, declared = bool(head[25] & 2), None
    for kind, start, length in _chunks(stream):
        if kind == b"sBIT":
            stream.seek(start)
            declared = max(stream.read(min(length, 3 if colour else 1)), default=None)
    stream.seek(0)
    values = tf.io.decode_png(stream.read(), channels=3 if colour else 1, dtype=tf.uint16).numpy()
    bits = 12 if values.max() <= _TWELVE_BITS else 16
    if declared is not None:
        # The PNG standard scales samples to 16 bits; the lowest bits of dark values are then zero.
        in_lower_bits = 0 < declared < 16 and values.max() < 2**declared and np.any(values & (2 ** (16 - declared) - 1))
        bits = declared if in_lower_bits else 16
    return to_eight_bits(values if colour else values[..., 0], bits)


def _may_hold_exif(stream):
    """Whether a PNG has a chunk that may contain EXIF data or XMP."""
    for kind, start, length in _chunks(stream):
        if kind == b"eXIf":
            return True
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            stream.seek(start)
            if stream.read(min(length, 17)) in (b"Raw profile type ", b"XML:com.adobe.xmp"):
                return True
    return False


def _chunks(stream):
    """Yield `(type, start of its content, length)` of every chunk of a PNG file, without reading the contents."""
    place = 8
    while True:
        stream.seek(place)
        head = stream.read(8)
        if len(head) < 8:
            return
        length = int.from_bytes(head[:4], "big")
        yield head[4:], place + 8, length
        place += length + 12
