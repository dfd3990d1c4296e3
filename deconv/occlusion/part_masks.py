"""Rectangles that hide a part of every image, and random rectangles as a control (section 4.3, Fig. 8)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from deconv.runtime.dtypes import any_array, array_of
from deconv.validation import check_fill, check_positive, check_seed


def random_masks(
    masks: Mapping[str, ArrayLike],
    image_shape: Sequence[int],
    count: int,
    seed: int = 0,
    *,
    aligned: bool = False,
    images: ArrayLike | None = None,
    fill: ArrayLike = 0.0,
    least: float = 0.5,
) -> np.ndarray:
    """Draw random rectangles of the sizes of the parts, as a control. The paper hides random parts of the object.

    Each draw hides one rectangle in each image, at independent positions inside the image. The draws take the sizes of
    the parts in turn. Rectangles may overlap the parts: the control measures the effect of any position, and draws that
    hit the same part in both images make the parts appear less special, not more.

    Where the background already has the fill value, as for digits on black, most rectangles would change nothing, and
    two images in which nothing changes would count as agreeing. With `images`, only positions are drawn that change an
    image at least `least` times as much as the part does, in sums of absolute differences of pixels. The paper uses
    photographs and does not discuss this.

    In centred images a part has nearly the same position in all of them, and a layer with spatial axes may change alike
    for that reason alone. `aligned` draws one position for all images, which controls for it.

    Args:
        masks: `{part: ints (n, 4)}`, as for `correspondence`.
        image_shape: `(height, width)` or `(height, width, channels)` of the images.
        count: Number of draws.
        seed: Seed of the positions.
        aligned: Whether the rectangles of a draw have the same top left corner in all images. The condition on `least`
            then applies to the sum over the images; if no position meets it, the one with the largest change is taken.
        images: None, or `(n, height, width, channels)`, in the units of `fill`.
        fill: Fill value of the rectangles: a number, one per channel, or a whole image.
        least: Share of the change by the part that a rectangle must reach, from 0 to 1. Only used with `images`.

    Returns:
        Ints `(count, n, 4)`, in the order of `images`.

    Raises:
        ValueError: If a rectangle of a part is outside of the image, the images do not fit the masks, or a number is
            out of range.
    """
    check_positive("count", count)
    check_seed(seed)
    if any_array(image_shape).ndim != 1 or len(image_shape) < 2:
        raise ValueError(f"image_shape must be (height, width, ...); received {image_shape!r}.")
    if not isinstance(least, Real) or not 0 <= least <= 1:
        raise ValueError(f"least must be a share from 0 to 1; received {least!r}.")
    parts = np.concatenate(list(check_masks(masks, image_shape).values()))
    number_of_images = parts.shape[1]
    changes = _changes(images, fill, (number_of_images, *image_shape[:2]))
    sums = np.pad(changes, ((0, 0), (1, 0), (1, 0))).cumsum(axis=1).cumsum(axis=2)
    random = np.random.default_rng(seed)
    rectangles = np.empty((count, number_of_images, 4), np.int64)
    groups = [list(range(number_of_images))] if aligned else [[number] for number in range(number_of_images)]
    for part, group in itertools.product(range(len(parts)), groups):
        sizes = parts[part, group, 2:] - parts[part, group, :2]
        allowed = _allowed_corners(sums[group], parts[part, group, :2], sizes, least)
        places = random.choice(np.flatnonzero(allowed), len(rectangles[part :: len(parts)]))
        corners = np.stack(np.divmod(places, allowed.shape[1]), axis=1)[:, None]
        corners = np.broadcast_to(corners, (len(places), *sizes.shape))
        rectangles[part :: len(parts), group] = np.concatenate([corners, corners + sizes], axis=2)
    return rectangles


def check_masks(
    masks: Mapping[str, ArrayLike], image_shape: Sequence[int], count: int | None = None
) -> dict[str, np.ndarray]:
    """Check rectangles and convert them to int64 arrays.

    Args:
        masks: `{part: rectangles}`, as for `correspondence`.
        image_shape: `(height, width, ...)`.
        count: Number of images; None for the number of rectangles of the first part.

    Returns:
        `{part: int64 (draws, n, 4)}`.

    Raises:
        ValueError: If they are no rectangles inside of the images; the message names the part and the rectangle.
    """
    if not isinstance(masks, dict) or not masks:
        raise ValueError(f"masks must be a dict {{part: rectangles}} with at least one part; received {masks!r}.")
    checked, (height, width) = {}, image_shape[:2]
    for part, given in masks.items():
        rectangles = any_array(given)
        if count is None and rectangles.ndim in (2, 3):
            count = rectangles.shape[-2]
        is_whole = rectangles.dtype.kind in "iu" and rectangles.size
        if not is_whole or rectangles.ndim not in (2, 3) or rectangles.shape[-2:] != (count, 4):
            n = "n" if count is None else count
            raise ValueError(
                f"masks[{part!r}] must be ints ({n}, 4), a rectangle (top, left, bottom, right) for each image, "
                f"or (draws, {n}, 4); received {rectangles.dtype} {rectangles.shape}."
            )
        rectangles = rectangles.reshape(-1, *rectangles.shape[-2:]).astype(np.int64)
        inside = (rectangles[..., :2] >= 0) & (rectangles[..., 2:] <= (height, width))
        fits = (inside & (rectangles[..., :2] < rectangles[..., 2:])).all(axis=-1)
        if not fits.all():
            draw, image = np.argwhere(~fits)[0]
            raise ValueError(
                f"masks[{part!r}]: the rectangle {tuple(rectangles[draw, image].tolist())} of image {image} must have "
                f"0 <= top < bottom <= {height} and 0 <= left < right <= {width}."
            )
        checked[part] = rectangles
    return checked


def _changes(images, fill, shape):
    """Change of each pixel when it is filled, `(n, height, width)`; zeros without images."""
    if images is None:
        return np.zeros(shape)
    pixels = array_of("images", images).astype(np.float64)
    if pixels.ndim != 4 or pixels.shape[:3] != shape or not np.isfinite(pixels).all():
        sizes = ", ".join(map(str, shape))
        raise ValueError(
            f"images must be finite, of shape ({sizes}, channels) as masks and image_shape require; received "
            f"{pixels.shape}."
        )
    return np.abs(pixels - check_fill(fill, pixels.shape[1:])).sum(axis=-1)


def _allowed_corners(sums, corners, sizes, least):
    """Positions at which rectangles change the images enough, bools `(rows, columns)`.

    Args:
        sums: `(images, height + 1, width + 1)`, for each image the sums of changes above and to the left of a pixel.
        corners, sizes: `(images, 2)`, position and size of the part in each image.
        least: Share of the change by the part that is enough.
    """
    rows, columns = sums.shape[1:] - sizes.max(axis=0)
    changes = [_box_sums(of_image, *size) for of_image, size in zip(sums, sizes, strict=True)]
    of_part = sum(change[tuple(corner)] for change, corner in zip(changes, corners, strict=True))
    together = sum(change[:rows, :columns] for change in changes)
    enough = min(least * of_part, together.max()) - 1e-9 * sums[:, -1, -1].sum()  # the sums are rounded
    return together >= enough


def _box_sums(sums, height, width):
    """Sums over a rectangle of this size at each position, from the sums above and to the left of each pixel."""
    below, above = sums[height:], sums[:-height]
    return below[:, width:] - above[:, width:] - below[:, :-width] + above[:, :-width]
