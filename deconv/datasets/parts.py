"""Parts of objects in images, as rectangles in a CSV file, for `deconv.occlusion.correspondence` (section 4.3)."""

from __future__ import annotations

import csv
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deconv.datasets.image_set import ImageSet
from deconv.runtime.short_repr import short_repr

DIGITS = Path(__file__).with_name("parts_of_digits.csv")
"""Three parts, 7x7 pixels each, of five sevens and five fours of the test digits of `mnist-5k`: the first five that are
written in one way (sevens with a straight bar, a corner and no stroke across; fours that are open above). The
rectangles were placed by eye, on enlarged digits with numbered pixels."""

_NUMBERS = ("top", "left", "bottom", "right")
_COLUMNS = ("image", "part", *_NUMBERS)


class Parts(NamedTuple):
    """The images of one object, and the rectangles of its parts in each.

    Attributes:
        object: Its name; empty if the file has no column of objects.
        ids: `(n,)` int64, the ids of the images in the data set, in the order of the file.
        masks: `{part: ints (n, 4)}`, top, left, bottom and right in pixels, bottom and right excluded.
    """

    object: str
    ids: np.ndarray
    masks: dict[str, np.ndarray]

    def __repr__(self) -> str:
        return short_repr(self)


def read_parts(path: str | os.PathLike, data: ImageSet) -> list[Parts]:
    """Read the rectangles of parts and check them against the images.

    The file has a line of column names and a line for every part of every image: `image`, `part`, `top`, `left`,
    `bottom`, `right`, and `object` if it contains several, each with its own parts. `image` is the id of an image, or
    the end of its file's path if the data set consists of files (`dog_3.jpg`, `dogs/3.jpg`). Rectangles are in pixels
    of the images after any resizing and cropping by the data set; bottom and right are excluded.

    Args:
        path: The file.
        data: The `ImageSet`.

    Returns:
        List of `Parts`, one for each object, in the order of the file.

    Raises:
        ValueError: If the file cannot be read, or a line is wrong: the message names the line.
    """
    find, (height, width) = _finder(data), data.image_shape[:2]
    objects: dict[str, dict[str, dict[int, list[int]]]] = {}
    for line, row in _rows(path):
        where = f"'{path}', line {line}"
        missing = [column for column in _COLUMNS if not (row[column] or "").strip()]
        if missing or None in row:
            wrong = f"has no {', '.join(missing)}" if missing else "has more fields than there are columns"
            raise ValueError(f"{where} {wrong}; every line needs {', '.join(_COLUMNS)}.")
        try:
            top, left, bottom, right = rectangle = [int(row[column]) for column in _NUMBERS]
        except ValueError:
            given = ", ".join(row[column] for column in _NUMBERS)
            raise ValueError(f"{where}: {', '.join(_NUMBERS)} must be whole numbers; received {given}.") from None
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise ValueError(
                f"{where}: the rectangle {tuple(rectangle)} must have 0 <= top < bottom <= {height} and "
                f"0 <= left < right <= {width}, the size of the images."
            )
        try:
            id = find(row["image"].strip())
        except KeyError as error:
            raise ValueError(f"{where}: {error.args[0]}") from None
        parts = objects.setdefault((row.get("object") or "").strip(), {})
        known = parts.setdefault(row["part"].strip(), {})
        if id in known:
            raise ValueError(f"{where}: part '{row['part']}' of image '{row['image']}' is given a second time.")
        known[id] = rectangle
    if not objects:
        raise ValueError(f"'{path}' has no line below its column names; give a line for every part of every image.")
    return [_together(path, object, parts) for object, parts in objects.items()]


def _rows(path):
    """`(line number, {column: text})` of each line below the column names."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets may write a byte order mark
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or []]
            missing = [column for column in _COLUMNS if column not in columns]
            if missing:
                raise ValueError(
                    f"'{path}', line 1, must name the columns {', '.join(_COLUMNS)}; missing: {', '.join(missing)}. "
                    "Columns are separated by commas."
                )
            reader.fieldnames = columns
            lines = [(reader.line_num, row) for row in reader]
            return [
                (number, row) for number, row in lines if any(str(text or "").strip("[]', ") for text in row.values())
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"The parts in '{path}' cannot be read: {error}") from None


def _finder(data):
    """A function from the text in the column `image` to an id; its KeyError explains what is wrong."""
    _, ids = data.listing()
    known = set(ids.tolist())
    files = cache(lambda: _files(data))

    def find(text):
        if text.isdecimal() and int(text) in known:
            return int(text)
        matches = [id for id, file in files().items() if f"/{file}".endswith(f"/{text}")]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise KeyError(
                f"{len(matches)} images are called '{text}'; give more of the path, for example 'dogs/3.jpg'."
            )
        raise KeyError(
            f"image '{text}' is not among the {data.size:,} images of {data.name}, split '{data.split}', whose ids "
            f"are {min(known, default=None)} to {max(known, default=None)}. Give an id"
            + (" or a file name." if files() else ".")
        )

    return find


def _files(data):
    """`{id: path}` of the images of a data set of files; empty for any other."""
    files = {}
    for source, _, id in data.encoded.stream.as_numpy_iterator() if data.encoded is not None else ():
        if not isinstance(source, bytes) or b"\0" in source:  # pixels or encoded image data, not a path
            return {}
        files[int(id)] = Path(os.fsdecode(source)).as_posix()
    return files


def _together(path, object, parts):
    """`Parts` of one object; every image must have every part."""
    ids = list(dict.fromkeys(id for known in parts.values() for id in known))
    for part, known in parts.items():
        missing = [id for id in ids if id not in known]
        if missing:
            raise ValueError(
                f"'{path}': part '{part}' is missing in image {missing[0]}, which has other parts"
                + (f" of '{object}'" if object else "")
                + ". Every part must be given in every image of its object."
            )
    if len(ids) < 2:
        raise ValueError(
            f"'{path}': there must be at least two images to compare; there is only image {ids[0]}"
            + (f" of '{object}'." if object else ".")
        )
    masks = {part: np.array([known[id] for id in ids], np.int64) for part, known in parts.items()}
    return Parts(object, np.array(ids, np.int64), masks)
