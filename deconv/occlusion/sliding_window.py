"""Grid of occluding patches over an image, and values per position spread over the pixels."""

from typing import NamedTuple

import numpy as np

from deconv.imaging.rectangles import covers
from deconv.runtime.dtypes import any_array, array_of


def default_square(image_shape):
    """`(side, stride)` in pixels where none are given: about a quarter and about a twentieth of the shorter side.

    Args:
        image_shape: `(height, width)`, or `(height, width, channels)`.
    """
    shorter = min(image_shape[:2])
    return min(shorter, max(2, round(0.25 * shorter))), max(1, shorter // 22)


class Squares(NamedTuple):
    """Grid of occluding patches, as `pixel_map` takes it.

    Attributes:
        tops, lefts: `(rows,)` and `(columns,)` ints, first row and first column of the patch at each position.
        size: `(height, width)` of the patch.
    """

    tops: np.ndarray
    lefts: np.ndarray
    size: tuple[int, int]


def starts(length, size, stride, axis):
    """Start positions of the patch along one axis: every `stride` pixels, and once flush with the end.

    Raises:
        ValueError: If the patch is larger than the image, or the stride leaves pixels uncovered.
    """
    if size > length:
        raise ValueError(f"The square has {size} {axis} and the image only {length}; choose a smaller size.")
    if stride > size:
        raise ValueError(
            f"A stride of {stride} {axis} leaves pixels uncovered between squares of {size}; choose stride <= size."
        )
    places = np.arange(0, length - size + 1, stride)
    return places if places[-1] == length - size else np.append(places, length - size)


def pixel_map(values, maps, image_shape):
    """Spread a value per position over the pixels: each pixel gets the mean over the patches that cover it.

    Args:
        values: `(rows, columns)`, for example `maps.probability`.
        maps: The `OcclusionMaps` that they belong to, or `Squares`.
        image_shape: `(height, width)` of the image.

    Returns:
        float64 array `(height, width)`.
    """
    values = array_of("values", values)
    if values.shape != (len(maps.tops), len(maps.lefts)):
        raise ValueError(
            f"values must have one number for each position, {(len(maps.tops), len(maps.lefts))}; "
            f"received {values.shape}."
        )
    end = maps.tops[-1] + maps.size[0], maps.lefts[-1] + maps.size[1]
    if any_array(image_shape).shape != (2,) or tuple(image_shape) != tuple(int(side) for side in end):
        raise ValueError(f"image_shape must be {tuple(map(int, end))}, where the maps end; received {image_shape}.")
    down = covers(maps.tops, maps.size[0], image_shape[0]).astype(float)
    right = covers(maps.lefts, maps.size[1], image_shape[1]).astype(float)
    return down.T @ values @ right / np.outer(down.sum(axis=0), right.sum(axis=0))
