"""Grid of occluding patches over an image, and values per position spread over the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deconv.imaging.rectangles import axis_masks
from deconv.runtime.dtypes import any_array, array_of
from deconv.validation import check_pair

if TYPE_CHECKING:
    from deconv.occlusion.sensitivity import OcclusionMaps


def default_square(image_shape: Sequence[int]) -> tuple[int, int]:
    """Return the default side and stride of the occluding patch.

    Args:
        image_shape: `(height, width)`, or `(height, width, channels)`.

    Returns:
        `(side, stride)` in pixels: about a quarter and about a twentieth of the shorter side of the image.
    """
    shorter = min(image_shape[:2])
    return min(shorter, max(2, round(0.25 * shorter))), max(1, shorter // 22)


def square_of(
    image_shape: Sequence[int],
    size: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return size and stride of the occluding patch as pairs of ints.

    Args:
        image_shape: `(height, width)`, or `(height, width, channels)`.
        size, stride: As for `deconv.occlusion_maps`; None for the values of `default_square`.

    Raises:
        ValueError: If size or stride is neither a positive int nor a pair of them.
    """
    side, step = default_square(image_shape)
    rows, columns = check_pair("size", side if size is None else size)
    default_stride = min(step, rows), min(step, columns)
    return (rows, columns), default_stride if stride is None else check_pair("stride", stride)


class Squares(NamedTuple):
    """Grid of positions of the occluding patch.

    Attributes:
        tops, lefts: `(rows,)` and `(columns,)` ints, first row and first column of the patch at each position.
        size: `(height, width)` of the patch.
    """

    tops: np.ndarray
    lefts: np.ndarray
    size: tuple[int, int]


def starts(length: int, size: int, stride: int, axis: str) -> np.ndarray:
    """Compute the start positions of the patch along one axis: every `stride` pixels, and once flush with the end.

    Args:
        length: Length of the image along the axis, in pixels.
        size: Length of the patch.
        stride: Distance between positions.
        axis: Name of the unit in error messages, `"rows"` or `"columns"`.

    Returns:
        Ints `(positions,)`, in order.

    Raises:
        ValueError: If the patch is larger than the image, or the stride leaves pixels uncovered.
    """
    if size > length:
        raise ValueError(f"The occluding patch has {size} {axis} and the image only {length}; choose a smaller size.")
    if stride > size:
        raise ValueError(
            f"A stride of {stride} {axis} skips pixels between patches of {size} {axis}; choose stride <= size."
        )
    places = np.arange(0, length - size + 1, stride)
    return places if places[-1] == length - size else np.append(places, length - size)


def pixel_map(values: ArrayLike, maps: OcclusionMaps | Squares, image_shape: Sequence[int]) -> np.ndarray:
    """Convert values per position of the patch to values per pixel: the mean over all patches that cover the pixel.

    Args:
        values: `(rows, columns)`, one value for each position, for example `maps.probability`.
        maps: The `OcclusionMaps` to which the values belong, or `Squares`.
        image_shape: `(height, width)` of the image.

    Returns:
        float64 array `(height, width)`.

    Raises:
        ValueError: If the shapes do not fit the positions.
    """
    numbers = array_of("values", values)
    if numbers.shape != (len(maps.tops), len(maps.lefts)):
        raise ValueError(
            f"values must have one number for each position, {(len(maps.tops), len(maps.lefts))}; "
            f"received {numbers.shape}."
        )
    end = maps.tops[-1] + maps.size[0], maps.lefts[-1] + maps.size[1]
    if any_array(image_shape).shape != (2,) or tuple(image_shape) != tuple(int(side) for side in end):
        raise ValueError(f"image_shape must be {tuple(map(int, end))}, where the maps end; received {image_shape}.")
    down = axis_masks(maps.tops, maps.size[0], image_shape[0]).astype(float)
    right = axis_masks(maps.lefts, maps.size[1], image_shape[1]).astype(float)
    return down.T @ numbers @ right / np.outer(down.sum(axis=0), right.sum(axis=0))
