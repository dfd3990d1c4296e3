"""Translate, scale and rotate images, as for Fig. 5 of Zeiler & Fergus (arXiv:1311.2901)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from deconv.runtime.dtypes import array_of, is_floating
from deconv.validation import check_fill

Kind = Literal["translation", "scale", "rotation"]
Interpolation = Literal["bilinear", "nearest"]

KINDS = ("translation", "scale", "rotation")
INTERPOLATIONS = ("bilinear", "nearest")


def transform(
    images: ArrayLike,
    kind: Kind,
    values: ArrayLike,
    *,
    fill: ArrayLike | Literal["edge"] = "edge",
    interpolation: Interpolation = "bilinear",
) -> np.ndarray:
    """Translate, scale or rotate each image by a value of its own.

    Each pixel of the result is interpolated at its position of origin in the image (inverse mapping), in float64.
    Translations by whole pixels, a scale of 1 and rotations of a square image by multiples of 90 degrees reproduce
    pixels exactly. Images are not smoothed before they are scaled down. The paper specifies neither interpolation nor
    fill.

    Args:
        images: `(n, height, width, channels)`.
        kind: `"translation"`: vertical, in pixels, down if positive; `"scale"`: about the centre, by a factor, larger
            above 1; `"rotation"`: about the centre, in degrees, counter-clockwise if positive.
        values: `(n,)`, one for each image, or one for all.
        fill: Value of pixels from outside of the image: `"edge"` for the nearest pixel of the border, which introduces
            no edge; or, in the units of `images`, a number, one per channel, or a whole image.
        interpolation: `"bilinear"` or `"nearest"`.

    Returns:
        `(n, height, width, channels)`, of the dtype of `images` if that is floating, else float32.

    Raises:
        ValueError: If an argument is none of these, or a scale is not above zero.
    """
    images = array_of("images", images)
    if images.ndim != 4 or not images.size:
        raise ValueError(f"images must have shape (n, height, width, channels); received {images.shape}.")
    check_interpolation(interpolation)
    count, height, width, _ = images.shape
    values = check_values(kind, values)
    if len(values) not in (1, count):
        raise ValueError(f"values must be one for each of the {count} images, or one for all; received {len(values)}.")
    values = np.broadcast_to(values, count)
    background = None if _is_edge(fill) else check_fill(fill, images.shape[1:])
    rows, columns = _origins(kind, values, height, width)
    if interpolation == "nearest":
        rows, columns = np.floor(rows + 0.5), np.floor(columns + 0.5)
    result = _read(images, rows, columns, background)
    return result.astype(images.dtype if is_floating(images.dtype) else np.float32)


def check_values(kind: str, values: ArrayLike) -> np.ndarray:
    """Check the values of a kind of transform and convert them to a float64 array.

    Raises:
        ValueError: If the kind is unknown, they are not finite real numbers, or a scale is not above zero.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; received {kind!r}.")
    array = np.atleast_1d(array_of("values", values, "finite numbers, at least one"))
    if array.ndim != 1 or not len(array) or array.dtype.kind == "b" or not np.isfinite(array).all():
        raise ValueError(f"values must be finite numbers, at least one; received {values!r}.")
    if kind == "scale" and (array <= 0).any():
        raise ValueError(f"A scale must be above zero, 1 for no change; received {array.min():g}.")
    return array.astype(np.float64)


def check_interpolation(interpolation: str) -> None:
    """Check that a value is one of `INTERPOLATIONS`.

    Raises:
        ValueError: If it is not.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}; received {interpolation!r}.")


def _is_edge(fill):
    if isinstance(fill, str) and fill != "edge":
        raise ValueError(f"fill must be 'edge', a number, one per channel or an image; received {fill!r}.")
    return isinstance(fill, str)


def _origins(kind, values, height, width):
    """Rows and columns of origin of the pixels of the result, `(n, height, width)` or broadcastable to it."""
    value = values[:, None, None]
    row, column = np.arange(height, dtype=np.float64)[:, None], np.arange(width, dtype=np.float64)
    if kind == "translation":
        return row - value, column + 0 * value
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    down, right = row - middle_row, column - middle_column
    if kind == "scale":
        return middle_row + down / value, middle_column + right / value
    cosine, sine = np.cos(np.deg2rad(value)), np.sin(np.deg2rad(value))
    rows = middle_row + cosine * down + sine * right
    columns = middle_column + cosine * right - sine * down
    # sin(180 degrees) is not exactly 0: without rounding a half turn would mix neighbours by about 1e-13.
    return rows.round(10), columns.round(10)


def _read(images, rows, columns, background):
    """Images interpolated bilinearly at fractional positions; outside, `background` or the nearest border pixel."""
    count, height, width, channels = images.shape
    if background is None:
        rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    top, left = np.floor(rows), np.floor(columns)
    pixels, first = images.reshape(-1, channels), np.arange(count)[:, None, None] * (height * width)
    result, inside = 0.0, 0.0
    for row, near_row in ((top, 1 - (rows - top)), (top + 1, rows - top)):
        for column, near_column in ((left, 1 - (columns - left)), (left + 1, columns - left)):
            is_there = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            share = (near_row * near_column * is_there)[..., None]
            place = first + row.clip(0, height - 1).astype(np.intp) * width
            result += share * pixels.take(place + column.clip(0, width - 1).astype(np.intp), axis=0)
            inside += share
    return result if background is None else result + (1 - inside) * background


def move(images: np.ndarray, down: int, right: int, fill: ArrayLike = 0.0) -> np.ndarray:
    """Translate images by whole pixels.

    Args:
        images: `(n, height, width, channels)`.
        down, right: Pixels; negative for up and left.
        fill: Value of the pixels that become free: a number, one per channel, or an image of the same size.

    Returns:
        Array of the same shape and dtype.
    """
    height, width = images.shape[1:3]
    moved = np.empty_like(images)
    moved[:] = fill
    if abs(down) < height and abs(right) < width:
        to_rows, from_rows = (
            slice(max(down, 0), height + min(down, 0)),
            slice(max(-down, 0), height - max(down, 0)),
        )
        to_columns, from_columns = (
            slice(max(right, 0), width + min(right, 0)),
            slice(max(-right, 0), width - max(right, 0)),
        )
        moved[:, to_rows, to_columns] = images[:, from_rows, from_columns]
    return moved
