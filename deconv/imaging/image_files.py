"""One picture file as an array of 8-bit pixels, upright; and what is wrong with a file, in one line that names it.

Pillow decodes. Only the formats in `FORMATS` are tried, whatever a file is called: an EPS file named `.png` would be a
program for Ghostscript. NumPy and Pillow are loaded when they are needed, TensorFlow for PNG files of 16 bits alone.

What becomes of the pixels:

- The EXIF orientation is applied, as every viewer does.
- 16 bits become 8 by `round(value * 255 / white)`. White is 65535 (so a value is divided by 257) or, for fewer bits in
  16-bit samples, `2**bits - 1`: where TIFF's BitsPerSample or MaxSampleValue says so; where a PNG's sBIT chunk says so
  and the values lie in the lower bits; and 4095 where nothing says so and no value of the picture is above 4095, for
  such a picture is nearly black otherwise. TIFF files of colour with 16 bits are read by Pillow, which keeps the upper
  8 of them.
- Transparency is dropped, as Keras's `load_img` does: a transparent pixel shows the colour that is stored for it.
- CMYK, YCbCr, palettes and single bits become RGB or grey as Pillow's `convert` makes them, without colour profiles.
- Of several frames or pages the first is taken.
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
"""Pillow's names of the formats that are read, and the endings of their files."""
SUFFIXES = tuple(suffix for endings in FORMATS.values() for suffix in endings)
OTHER_SUFFIXES = (
    *(".avif", ".heic", ".heif", ".jp2", ".jpe", ".jfif", ".jxl", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".ico"),
    *(".svg", ".psd", ".eps", ".dng", ".cr2", ".nef", ".arw", ".raw"),
)
"""Endings of other pictures, which are not read."""
MOST_PIXELS = 178_956_970
"""Larger pictures are refused: Pillow's own limit, twice its `MAX_IMAGE_PIXELS`."""

_ORIENTATION = 0x0112
_WIDTH, _HEIGHT, _BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE_VALUE = 256, 257, 258, 262, 281
_GREY_MODES = ("1", "L", "LA", "La")
_TWELVE_BITS = 4095


def printable(path: str | os.PathLike) -> str:
    """A path or name as text that every terminal, file and figure takes.

    What cannot be shown (bytes that are not UTF-8, line breaks, control characters) is written as an escape, `\\xe9`.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(
        part if part.isprintable() or part == " " else part.encode("unicode_escape").decode() for part in text
    )


def header(file: str | os.PathLike) -> tuple[tuple[int, int], bool]:
    """`(height, width)` of a picture as it stands upright, and whether it is grey; its pixels are not decoded.

    Raises:
        ValueError: If it is no picture that can be read, in one line.
    """
    with _opened(file) as (stream, picture):
        width, height = picture.size
        if picture.format == "TIFF":  # of which newer versions of Pillow give the size after turning
            width, height = picture.tag_v2[_WIDTH], picture.tag_v2[_HEIGHT]
        turned = _orientation(picture, stream) >= 5
        grey = picture.mode in _GREY_MODES or picture.mode.startswith("I")
        return ((width, height) if turned else (height, width)), grey


def read(file: str | os.PathLike, grey: bool = False) -> "np.ndarray":
    """The pixels of a picture, uint8 `(height, width, 3)`, or `(height, width, 1)` where grey is wanted.

    Raises:
        ValueError: If it is no picture that can be read, in one line.
    """
    import numpy as np
    from PIL import Image

    with _opened(file) as (stream, picture):
        picture.load()
        deep = _deep(picture, stream)
        shown = picture if deep is None else Image.fromarray(deep)
        pixels = _upright(np.asarray(shown.convert("L" if grey else "RGB")), _orientation(picture, stream))
    return np.ascontiguousarray(pixels[..., None] if grey else pixels)


def check(file: str | os.PathLike) -> None:
    """Fail if a file is no picture that can be read to its end.

    Raises:
        ValueError: In one line.
    """
    with _opened(file) as (_, picture):
        picture.load()


def to_eight_bits(values: "np.ndarray", bits: int = 16) -> "np.ndarray":
    """`round(values * 255 / (2**bits - 1))` of whole numbers in that range, uint8."""
    import numpy as np

    white = 2**bits - 1
    return ((values.astype(np.uint32) * 510 + white) // (2 * white)).astype(np.uint8)


@contextlib.contextmanager
def _opened(file) -> Iterator[tuple[IO[bytes], Any]]:
    """An open file and its picture, of which only the header is read; whatever fails inside is told in one line."""
    from PIL import Image

    _accept_large(Image)
    name = printable(file)
    try:
        with open(file, "rb", opener=_open_regular) as stream, Image.open(stream, formats=tuple(FORMATS)) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            yield stream, picture
    except Image.DecompressionBombError:
        raise ValueError(
            f"The picture '{name}' has more than {MOST_PIXELS / 1e6:.0f} million pixels, or says so. Make it smaller, "
            "or take it away."
        ) from None
    except Image.UnidentifiedImageError:
        empty = not os.path.getsize(file)
        kinds = ", ".join(FORMATS)
        raise ValueError(
            f"The picture '{name}' cannot be read: it is {'empty' if empty else f'damaged, or none of {kinds}'}. "
            "Save it as PNG, or take it away."
        ) from None
    except _NotRegular as error:
        raise ValueError(f"'{name}' is no picture: it is {error}. Take it away.") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise ValueError(f"The picture '{name}' cannot be read: {why}. Save it anew, or take it away.") from error
    except Exception as error:  # the decoders raise all kinds at damaged data
        why = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"The picture '{name}' cannot be read: {why}. Save it anew, or take it away.") from error


class _NotRegular(Exception):
    """A path at which there is no file with content."""


def _open_regular(path, flags):
    """Open a file; a folder, a pipe (which would be waited for), a device or a link to nothing is refused."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise _NotRegular("a link to nothing" if os.path.islink(path) else "not there") from None
    if stat.S_ISDIR(mode):
        raise _NotRegular("a folder")
    if not stat.S_ISREG(mode):
        raise _NotRegular("a pipe, a socket or a device")
    return os.open(path, flags)


def _accept_large(Image):
    """Let Pillow keep silent of pictures up to `MOST_PIXELS`, unless the user's own filters say otherwise."""
    wanted = Image.DecompressionBombWarning
    if not any(action == "ignore" and category is wanted for action, _, category, *_ in warnings.filters):
        warnings.filterwarnings("ignore", category=wanted, append=True)


def _orientation(picture, stream):
    """The EXIF orientation, 1 to 8; 1, upright, where there is none or what stands there is damaged."""
    if picture.format == "PNG" and not _may_hold_exif(stream):
        return 1  # Pillow would decode the whole picture to see whether something comes after it
    try:
        found = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # the picture may be whole where its EXIF data are not
        return 1
    return found if found in range(1, 9) else 1


def _upright(pixels, orientation):
    """Turn pixels `(rows, columns, ...)` as an EXIF orientation says: where its row 0 and column 0 lie."""
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return turned[::rows, ::columns]


def _deep(picture, stream):
    """A picture with more than 8 bits per sample in 8: `(height, width)` or `(height, width, 3)`; None for others."""
    import numpy as np

    if picture.format == "PNG":
        return _deep_png(stream)
    tags = getattr(picture, "tag_v2", {})
    if picture.mode.startswith("F"):
        raise ValueError("its values are floating point, and which of them is white is not known; save it with 8 bits")
    if picture.mode.startswith("I"):
        return _deep_grey(np.asarray(picture), tags)
    if max(np.atleast_1d(tags.get(_BITS_PER_SAMPLE, 8))) > 8 and np.asarray(picture).max() <= _TWELVE_BITS >> 8:
        raise ValueError("it is nearly black, for it has 12 bits in samples of 16; save it as PNG, or with 8 bits")
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

    colour, said = bool(head[25] & 2), None
    for kind, start, length in _chunks(stream):
        if kind == b"sBIT":
            stream.seek(start)
            said = max(stream.read(min(length, 3 if colour else 1)), default=None)
    stream.seek(0)
    values = tf.io.decode_png(stream.read(), channels=3 if colour else 1, dtype=tf.uint16).numpy()
    bits = 12 if values.max() <= _TWELVE_BITS else 16
    if said is not None:
        # The standard scales to all 16 bits, and then the lowest ones of dark values are zero.
        in_lower_bits = 0 < said < 16 and values.max() < 2**said and np.any(values & (2 ** (16 - said) - 1))
        bits = said if in_lower_bits else 16
    return to_eight_bits(values if colour else values[..., 0], bits)


def _may_hold_exif(stream):
    """Whether a PNG has a chunk in which EXIF data or XMP may stand."""
    for kind, start, length in _chunks(stream):
        if kind == b"eXIf":
            return True
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            stream.seek(start)
            if stream.read(min(length, 17)) in (b"Raw profile type ", b"XML:com.adobe.xmp"):
                return True
    return False


def _chunks(stream):
    """`(type, where its content begins, length)` of every chunk of a PNG file; their contents are not read."""
    place = 8
    while True:
        stream.seek(place)
        head = stream.read(8)
        if len(head) < 8:
            return
        length = int.from_bytes(head[:4], "big")
        yield head[4:], place + 8, length
        place += length + 12
