"""Rectangles that hide a part of every image, and random ones in their place (section 4.3, Fig. 8)."""

import itertools
from numbers import Real

import numpy as np

from deconv.runtime.dtypes import any_array, array_of
from deconv.validation import check_fill, check_positive, check_seed


def random_masks(masks, image_shape, count, seed=0, *, aligned=False, images=None, fill=0.0, least=0.5):
    """Random places in place of the parts, the control. The paper hides random parts of the object, we any place.

    Every draw hides one rectangle in each image, each at a place of its own, wholly inside the image; draw after
    draw takes the sizes of one part after another. They may lie on the parts: the control asks what any place does, and
    where two draws happen to hit one part in both images, parts look less special, not more.

    Where the background is already what hides, as in digits on black, most places would hide nothing, and two
    images in which nothing changes would count as agreeing. If `images` are given, only places count that change a
    picture at least `least` times as much as the part does, in sums of absolute differences of pixels. The paper has
    photographs and says nothing of this.

    In pictures that are centred, a part is at nearly the same place in all of them, and a layer with maps may change
    alike for that alone. `aligned` draws one place for all images: what is more alike still owes it to the part.

    Args:
        masks: `{part: ints (n, 4)}`, as for `correspondence`.
        image_shape: `(height, width)` or `(height, width, channels)` of the images.
        count: How many draws.
        seed: Seed of the places.
        aligned: Whether the rectangles of a draw begin at the same place in all images; what these change is then added
            up to be enough, and where no place is, the one that changes most is taken.
        images: None, or `(n, height, width, channels)`, in the units of `fill`.
        fill: What hides: a number, one per channel, or a whole image.
        least: A share from 0 to 1.

    Returns:
        Ints `(count, n, 4)`, in the order of `images`.

    Raises:
        ValueError: If a rectangle of the parts is outside, the images are not those of the masks, or a number is unfit.
    """
    check_positive("count", count)
    check_seed(seed)
    if any_array(image_shape).ndim != 1 or len(image_shape) < 2:
        raise ValueError(f"image_shape must be (height, width, ...); received {image_shape!r}.")
    if not isinstance(least, Real) or not 0 <= least <= 1:
        raise ValueError(f"least must be a share from 0 to 1; received {least!r}.")
    parts = np.concatenate(list(check_masks(masks, image_shape).values()))
    cost = np.zeros((parts.shape[1], *image_shape[:2]))
    if images is not None:
        images = array_of("images", images).astype(np.float64)
        if images.ndim != 4 or images.shape[:3] != cost.shape or not np.isfinite(images).all():
            sizes = ", ".join(map(str, cost.shape))
            raise ValueError(
                f"images must be finite, ({sizes}, channels), as masks and image_shape say; received {images.shape}."
            )
        cost = np.abs(images - check_fill(fill, images.shape[1:])).sum(axis=-1)
    sums = np.pad(cost, ((0, 0), (1, 0), (1, 0))).cumsum(axis=1).cumsum(axis=2)
    random = np.random.default_rng(seed)
    drawn = np.empty((count, parts.shape[1], 4), np.int64)
    numbers = range(parts.shape[1])
    for part, group in itertools.product(range(len(parts)), [list(numbers)] if aligned else [[n] for n in numbers]):
        corners, sizes = parts[part, group, :2], parts[part, group, 2:] - parts[part, group, :2]
        rows, columns = (image_shape[:2] - sizes.max(axis=0) + 1).tolist()
        hides = [_box_sums(sums[image], *size) for image, size in zip(group, sizes, strict=True)]
        enough = least * sum(of[tuple(corner)] for of, corner in zip(hides, corners, strict=True))
        together = sum(of[:rows, :columns] for of in hides)
        enough = min(enough, together.max()) - 1e-9 * sums[group, -1, -1].sum()  # the sums are rounded
        places = random.choice(np.flatnonzero(together >= enough), len(drawn[part :: len(parts)]))
        corner = np.broadcast_to(np.stack(np.divmod(places, columns), axis=1)[:, None], (len(places), *sizes.shape))
        drawn[part :: len(parts), group] = np.concatenate([corner, corner + sizes], axis=2)
    return drawn


def check_masks(masks, image_shape, count=None):
    """`{part: ints (draws, n, 4)}` of rectangles inside of images.

    Args:
        masks: What was given.
        image_shape: `(height, width, ...)`.
        count: How many images there are; None for as many as the first part has rectangles for.

    Raises:
        ValueError: If they are something else; the message names the part, and the rectangle that is outside.
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
        rectangles = rectangles.reshape(-1, count, 4).astype(np.int64)
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


def _box_sums(sums, height, width):
    """Sums over a rectangle of this size at each place, from sums over all that is above and to the left."""
    below, above = sums[height:], sums[:-height]
    return below[:, width:] - above[:, width:] - below[:, :-width] + above[:, :-width]
