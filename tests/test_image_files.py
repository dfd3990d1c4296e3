"""Picture files: which pixels come out of them, and what is said of those that are none."""

import os
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, PngImagePlugin

from deconv import datasets
from deconv.cli import images_option
from deconv.datasets.image_set import fit_image
from deconv.imaging import image_files

# An upright picture of 2x3 pixels, and how a camera stores it: the EXIF standard says for each orientation where row 0
# and column 0 of what is stored lie in the upright picture.
UPRIGHT = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
STORED = {
    1: [[10, 20, 30], [40, 50, 60]],  # row 0 is the top, column 0 the left
    2: [[30, 20, 10], [60, 50, 40]],  # top, right
    3: [[60, 50, 40], [30, 20, 10]],  # bottom, right
    4: [[40, 50, 60], [10, 20, 30]],  # bottom, left
    5: [[10, 40], [20, 50], [30, 60]],  # left, top
    6: [[30, 60], [20, 50], [10, 40]],  # right, top
    7: [[60, 30], [50, 20], [40, 10]],  # right, bottom
    8: [[40, 10], [50, 20], [60, 30]],  # left, bottom
}


def oriented(path, orientation, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.array(STORED.get(orientation, STORED[1]), np.uint8)).save(path, exif=exif.tobytes(), **options)
    return path


@pytest.mark.parametrize(("ending", "options"), [("png", {}), ("tiff", {}), ("webp", {"lossless": True})])
@pytest.mark.parametrize("orientation", STORED)
def test_a_picture_of_every_orientation_stands_upright(tmp_path, orientation, ending, options):
    path = oriented(tmp_path / f"a.{ending}", orientation, **options)
    assert image_files.header(path)[0] == (2, 3)
    np.testing.assert_array_equal(image_files.read(path, grey=True)[..., 0], UPRIGHT)
    assert (image_files.read(path) == UPRIGHT[..., None]).all() and image_files.read(path).shape == (2, 3, 3)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_photograph_of_a_telephone_stands_upright_in_a_folder_and_alone(tmp_path, orientation):
    upright = np.kron(np.array([[0, 0], [0, 255], [120, 120]]), np.ones((16, 16))).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.rot90(upright, {3: 2, 6: 1, 8: -1}[orientation])  # the camera was turned by as much
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif.tobytes(), quality=100)
    found, _, _ = datasets.arrays(folder := datasets.load(tmp_path, "all"))
    assert folder.image_shape == (48, 32, 1)
    assert np.abs(found[0, ..., 0].astype(int) - upright).max() <= 4
    alone = images_option.images_of(str(tmp_path / "a.jpg"), None, (48, 32), 1)
    np.testing.assert_array_equal(datasets.arrays(alone)[0], found)


@pytest.mark.parametrize("damaged", [0, 9, 4711])
def test_an_orientation_that_there_is_not_is_none(tmp_path, damaged):
    np.testing.assert_array_equal(image_files.read(oriented(tmp_path / "a.png", damaged), grey=True)[..., 0], UPRIGHT)


def test_damaged_exif_data_do_not_make_a_good_picture_unreadable(tmp_path):
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xffnothing")
    np.testing.assert_array_equal(image_files.read(tmp_path / "a.png", grey=True)[..., 0], UPRIGHT)
    assert image_files.header(tmp_path / "a.png")[0] == (2, 3)


def png(path, values, colour_type, said=None, bits=16):
    """A PNG by the letter of the standard: `values` are `(h, w, samples)` of 16 bits, or bytes for fewer."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
        + (chunk(b"sBIT", bytes(said)) if said else b"")
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


FULL = np.array([[0, 128, 129], [257, 32768, 65535]], np.uint16)  # 0, 0.498, 0.502, 1, 127.502, 255
FULL_IN_8 = [[0, 0, 1], [1, 128, 255]]
TWELVE = np.array([[0, 8, 9], [16, 2048, 4095]], np.uint16)  # 255/4095 of them: 0, 0.498, 0.56, 0.996, 127.53, 255
TWELVE_IN_8 = [[0, 0, 1], [1, 128, 255]]


@pytest.mark.parametrize(("values", "expected"), [(FULL, FULL_IN_8), (TWELVE, TWELVE_IN_8)], ids=["16 bits", "12 bits"])
@pytest.mark.parametrize("kind", ["grey", "grey and alpha", "colour", "colour and alpha", "tiff", "big-endian tiff"])
def test_16_bits_are_divided_by_257_and_12_bits_by_what_makes_4095_white(tmp_path, kind, values, expected):
    path = tmp_path / "a.png"
    if "tiff" in kind:
        path = tmp_path / "a.tiff"
        Image.frombytes(
            "I;16B" if "big" in kind else "I;16", (3, 2), values.astype(">u2" if "big" in kind else "<u2").tobytes()
        ).save(path)
    else:
        samples, colour_type = {"grey": (1, 0), "grey and alpha": (2, 4), "colour": (3, 2), "colour and alpha": (4, 6)}[
            kind
        ]
        png(path, np.repeat(values[..., None], samples, -1), colour_type)
    assert image_files.read(path, grey=True)[..., 0].tolist() == expected
    assert image_files.read(path)[..., 1].tolist() == expected


def test_colours_of_16_bits_are_scaled_each_alike(tmp_path):
    values = np.array([[[257 * 10, 257 * 20, 257 * 255]]], np.uint16)
    assert image_files.read(png(tmp_path / "a.png", values, 2)).tolist() == [[[10, 20, 255]]]
    values = np.array([[[4095, 2048, 0]]], np.uint16)
    assert image_files.read(png(tmp_path / "a.png", values, 2)).tolist() == [[[255, 128, 0]]]


@pytest.mark.parametrize(
    ("said", "values", "expected"),
    [
        ([10], [0, 1, 512, 1023], [0, 0, 128, 255]),  # as they were measured: 255/1023 of them
        ([14], [0, 33, 8192, 16383], [0, 1, 128, 255]),
        ([12], [0, 16 * 16, 16 * 255, 65520], [0, 1, 16, 255]),  # scaled to all 16 bits, as the standard asks
        ([12], [0, 16 * 16, 16 * 128, 16 * 255], [0, 1, 8, 16]),  # the same, and dark: it stays dark
        ([16], [0, 257, 4095], [0, 1, 16]),  # all 16 bits are meant
    ],
)
def test_the_chunk_sbit_says_how_many_bits_are_meant(tmp_path, said, values, expected):
    path = png(tmp_path / "a.png", np.array(values, np.uint16)[None, :, None], 0, said)
    assert image_files.read(path, grey=True).ravel().tolist() == expected


def test_tiffs_tags_say_what_white_is_and_that_zero_is_white(tmp_path):
    path = tmp_path / "a.tiff"
    values = np.array([[0, 512, 1023]], np.uint16)
    Image.fromarray(values).save(path, tiffinfo={281: 1023})
    assert image_files.read(path, grey=True).ravel().tolist() == [0, 128, 255]
    Image.fromarray(np.array([[0, 257, 65535]], np.uint16)).save(path, tiffinfo={262: 0})
    assert image_files.read(path, grey=True).ravel().tolist() == [255, 254, 0]


@pytest.mark.parametrize(
    ("mode", "stored", "colour", "grey"),
    [
        ("1", [0, 255], [[0] * 3, [255] * 3], [0, 255]),
        ("L", [7, 200], [[7] * 3, [200] * 3], [7, 200]),
        ("LA", [(7, 0), (200, 255)], [[7] * 3, [200] * 3], [7, 200]),
        ("RGBA", [(255, 0, 0, 0), (0, 0, 255, 9)], [[255, 0, 0], [0, 0, 255]], [76, 29]),  # transparency is dropped
    ],
)
def test_every_mode_of_a_png_comes_as_colour_and_as_grey(tmp_path, mode, stored, colour, grey):
    picture = Image.new(mode, (2, 1))
    picture.putdata(stored)
    picture.save(tmp_path / "a.png")
    assert image_files.read(tmp_path / "a.png")[0].tolist() == colour
    assert image_files.read(tmp_path / "a.png", grey=True).ravel().tolist() == grey
    assert image_files.header(tmp_path / "a.png") == ((1, 2), mode != "RGBA")


def test_palettes_with_transparency_and_inks_become_their_colours(tmp_path):
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putdata([0, 1])
    for name in ("a.png", "a.gif"):
        picture.save(tmp_path / name, transparency=0)
        assert image_files.read(tmp_path / name)[0].tolist() == [[255, 0, 0], [0, 0, 255]]
    inks = Image.new("CMYK", (2, 1))
    inks.putdata([(0, 255, 255, 0), (0, 0, 0, 255)])
    inks.save(tmp_path / "a.tif")
    assert image_files.read(tmp_path / "a.tif")[0].tolist() == [[255, 0, 0], [0, 0, 0]]
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert np.abs(image_files.read(tmp_path / "a.jpg").astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tiff"])
def test_of_several_frames_the_first_is_taken(tmp_path, ending):
    frames = [Image.new("L", (4, 3), value) for value in (40, 200)]
    options = {"lossless": True} if ending == "webp" else {}
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:], **options)
    assert (image_files.read(tmp_path / f"a.{ending}", grey=True) == 40).all()


# What is no picture


def noise(path, side=40):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)).save(path)
    return path.read_bytes()


def wrong_files(folder):
    """`{name: words of the message}` of files that are made in a folder."""
    whole = noise(folder / "a.png")
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("nothing of the kind")
    (folder / "header.png").write_bytes(whole[:16] + b"\xff" * 8 + whole[24:])
    (folder / "vector.png").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(/tmp/x) (w) file\n"
    )
    (folder / "huge.png").write_bytes(png_header(60_000, 60_000))
    Image.new("F", (2, 2), 0.5).save(folder / "float.tif")
    (folder / "nowhere.png").symlink_to(folder / "missing.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "a.png").unlink()
    return {
        "cut.png": "cannot be read: .*truncated",
        "empty.png": "cannot be read: it is empty",
        "text.jpg": "cannot be read: it is damaged, or none of PNG, JPEG, BMP, GIF, WEBP, TIFF. Save it as PNG, or",
        "header.png": "cannot be read|more than 179 million pixels",
        "vector.png": "it is damaged, or none of PNG",
        "huge.png": "has, or declares, more than 179 million pixels. Reduce its size, or remove it",
        "float.tif": "floating point, so the value of white is not known; save it with 8 bits",
        "nowhere.png": "is not an image file: it is a broken link. Remove it",
        "pipe.png": "is not an image file: it is a pipe",
        "folder.png": "is not an image file: it is a folder",
    }


def png_header(width, height, bits=1):
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + head
        + struct.pack(">I", zlib.crc32(head))
        + b"\0\0\0\x09IDAT"
        + bytes(64)
    )


def test_what_cannot_be_read_is_named_in_one_line_with_what_is_wrong(tmp_path):
    for name, message in wrong_files(tmp_path).items():
        with pytest.raises(ValueError, match=message) as told:
            image_files.read(tmp_path / name)
        assert str(tmp_path / name) in str(told.value) and "\n" not in str(told.value), name


@pytest.mark.parametrize("name", ["huge.png", "vector.png", "pipe.png", "nowhere.png", "empty.png"])
def test_a_folder_and_the_option_images_name_the_picture_that_is_none(tmp_path, name):
    message = wrong_files(tmp_path)[name]
    for other in tmp_path.iterdir():
        if other.name != name:
            other.rmdir() if other.is_dir() else other.unlink()
    with pytest.raises(ValueError, match=f"{name}' .*{message}"):
        datasets.load(tmp_path, "all")
    if name in ("huge.png", "vector.png", "empty.png"):  # the others are no files
        with pytest.raises(ValueError, match=f"^--images: the image '.*{name}' .*{message}"):
            images_option.check_images(str(tmp_path / name))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="a superuser may read every file")
def test_a_picture_that_may_not_be_read_is_named(tmp_path):
    noise(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(ValueError, match=r"a\.png' cannot be read: Permission denied"):
        datasets.load(tmp_path, "all")


def test_a_picture_of_100_million_pixels_is_read_without_a_word(tmp_path):
    with warnings.catch_warnings(record=True) as told:
        Image.new("1", (10_000, 10_000), 1).save(tmp_path / "a.png")
        assert image_files.header(tmp_path / "a.png") == ((10_000, 10_000), True)
        assert image_files.read(tmp_path / "a.png", grey=True)[::999, ::999].min() == 255
    assert not told


def test_a_damaged_byte_anywhere_in_a_header_raises_one_kind_of_error(tmp_path):
    for ending in ("png", "jpg", "bmp", "gif", "webp", "tiff"):
        Image.fromarray(UPRIGHT).convert("RGB").save(whole := tmp_path / f"whole.{ending}")
        content = whole.read_bytes()
        for place in range(0, min(len(content), 120), 3):
            changed = bytearray(content)
            changed[place] ^= 0xFF
            (tmp_path / f"a.{ending}").write_bytes(changed)
            try:
                assert image_files.read(tmp_path / f"a.{ending}").dtype == np.uint8
            except ValueError as error:
                assert f"a.{ending}'" in str(error) and "\n" not in str(error)


def test_the_decoders_of_programs_are_never_asked(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    def ran(*_, **__):
        raise AssertionError("Ghostscript was run")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", ran)
    Image.new("L", (9, 9)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(ValueError, match="none of PNG"):
        image_files.read(tmp_path / "a.png")


# Folders


def test_webp_and_tiff_are_pictures_too_and_other_kinds_are_named_as_left_out(tmp_path):
    for value, ending in ((10, "webp"), (20, "tif"), (30, "TIFF"), (40, "png")):
        options = {"lossless": True} if ending == "webp" else {}
        Image.new("L", (4, 3), value).save(tmp_path / f"{value}.{ending}", **options)
    for name in ("a.heic", "b.HEIC", "c.avif"):
        (tmp_path / name).write_bytes(b"of a telephone")
    images, _, _ = datasets.arrays(folder := datasets.load(tmp_path, "all"))
    assert images[:, 0, 0, 0].tolist() == [10, 20, 30, 40]
    assert folder.source.endswith("3 pictures of other kinds (.avif, .heic) left out.")
    for file in (*tmp_path.glob("*0.*"),):
        file.unlink()
    with pytest.raises(
        ValueError, match=r"contains no images .*It contains 3 pictures of other kinds .*convert them to PNG"
    ):
        datasets.load(tmp_path, "all")


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_names_that_are_not_utf_8_are_read_and_shown_with_escapes(tmp_path):
    for place, name in enumerate((b"caf\xe9", b"tea")):
        folder = os.path.join(os.fsencode(tmp_path), name)
        os.mkdir(folder)
        Image.new("L", (4, 3), 10 + place).save(os.path.join(folder, b"n\xff\n.png"))
    images, labels, _ = datasets.arrays(folder := datasets.load(tmp_path, "all"))
    assert folder.class_names == (r"caf\xe9", "tea") and labels.tolist() == [0, 1]
    assert images[:, 0, 0, 0].tolist() == [10, 11]
    broken = os.path.join(os.fsencode(tmp_path), b"caf\xe9", b"n\xff\n.png")
    with open(broken, "r+b") as file:
        file.truncate(45)
    with pytest.raises(ValueError, match=r"caf\\xe9/n\\xff\\n\.png' cannot be read"):
        datasets.arrays(datasets.load(tmp_path, "all", image_size=(3, 4)))
    with pytest.raises(ValueError, match=r"no folder '.*caf\\xe8'"):
        datasets.load(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"caf\xe8")))


@pytest.mark.parametrize("text", ["~nobody_of_this_name", "~nobody_of_this_name/a.png"])
def test_the_home_of_nobody_is_a_folder_that_is_not_there(text):
    with pytest.raises(ValueError, match=f"^--images: there is no folder or image file '{text}'"):
        images_option.check_images(text)
    with pytest.raises(ValueError, match=f"There is no folder '{text}'"):
        datasets.load(text)


# Sizes


@pytest.mark.parametrize("shape", [(1, 4000), (4000, 1), (3, 700), (900, 2)])
def test_a_long_picture_is_cropped_without_being_made_as_a_whole(shape):
    # The centre alone, in double precision: bilinear, at the places of the pixels of the resized picture.
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    found = fit_image(tf.constant(pixels), (60, 61), None).numpy().astype(int)
    resized = [max(60, round(shape[0] * max(60 / shape[0], 61 / shape[1]))), 0]
    resized[1] = max(61, round(shape[1] * max(60 / shape[0], 61 / shape[1])))
    expected = pixels.astype(float)
    for axis, (wanted, side) in enumerate(zip((60, 61), resized, strict=True)):
        places = (np.arange(wanted) + (side - wanted) // 2 + 0.5) * shape[axis] / side - 0.5
        before = np.clip(np.floor(places), 0, shape[axis] - 1).astype(int)
        after = np.clip(np.floor(places) + 1, 0, shape[axis] - 1).astype(int)
        part = (places - np.floor(places)).reshape([-1, 1, 1] if axis == 0 else [1, -1, 1])
        expected = np.take(expected, before, axis) * (1 - part) + np.take(expected, after, axis) * part
    assert found.shape == (60, 61, 3) and np.abs(found - expected).max() <= 0.6


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="only Linux tells the peak anew")
def test_a_long_picture_takes_little_memory(tmp_path):
    def memory(kind):
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(kind))

    Image.new("L", (4000, 1), 7).save(tmp_path / "a.png")
    pictures = datasets.load(tmp_path, "all", image_size=(224, 224), channels=3)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = memory("VmRSS")
    assert (datasets.arrays(pictures)[0] == 7).all()
    assert memory("VmHWM") - before < 300_000  # KB; as a whole it would be 2.4 GB


@pytest.mark.parametrize(("side", "first"), [(9, 2), (8, 2), (7, 1), (5, 0)])
def test_of_an_odd_gap_one_more_row_goes_at_the_end(side, first):
    pixels = np.broadcast_to(np.arange(side, dtype=np.uint8)[:, None, None], (side, 4, 1))
    assert fit_image(tf.constant(pixels), (4, 4), None)[:, 0, 0].numpy().tolist() == list(range(first, first + 4))


def test_pillow_can_write_the_chunk_that_is_read(tmp_path):
    # sBIT before IDAT, as other programs write it.
    told = PngImagePlugin.PngInfo()
    told.add(b"sBIT", bytes([12]))
    Image.fromarray(TWELVE).save(tmp_path / "a.png", pnginfo=told)
    assert image_files.read(tmp_path / "a.png", grey=True)[..., 0].tolist() == TWELVE_IN_8
