"""Images as thumbnails on a plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image


def thumbnails(
    points: np.ndarray,
    images: np.ndarray,
    frames: np.ndarray,
    *,
    side: int | None = None,
    size: int = 1300,
    border: int = 2,
    field: float = 1.5,
) -> tuple[np.ndarray, tuple[float, float, float, float], np.ndarray]:
    """Place images on a grid over the plane, each in the free cell nearest to its point.

    Args:
        points: `(n, 2)` coordinates.
        images: `(n, height, width, 1 or 3)` in pixel units.
        frames: `(n, 3)` colours, 0 to 1.
        side: Longer side of a thumbnail, in pixels of the result; None for 40, or more for fewer than 300 images.
        size: Approximate longer side of the result, in pixels.
        border: Width of the frames, in pixels.
        field: Maximum distance between an image and its point, in cells. An image without a free cell within this
            distance is not drawn.

    Returns:
        `(picture, extent, shown)`: image `(height, width, 3)`; left, right, bottom and top in the units of the points;
        and the indices of the drawn images.
    """
    height, width = images.shape[1:3]
    side = int(np.clip(0.55 * size / np.sqrt(len(images)), 40, 160)) if side is None else side
    box = np.maximum(1, np.array([height, width]) * side // max(height, width)) + 2 * border + 1
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (size - 2 * box.max()) / max((high - low).max(), 1e-12)
    where = np.stack([high[1] - points[:, 1], points[:, 0] - low[0]], axis=1) * scale / box  # in cells, from 0
    counts = np.floor(where.max(axis=0)).astype(int) + 2
    cells = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1).reshape(-1, 2)
    picture, free = np.ones((*(counts * box), 3)), np.ones(len(cells), bool)
    shown: list[int] = []
    for number, place in enumerate(where):
        away = np.where(free, np.hypot(*(cells - place).T), np.inf)
        if away.min() > field:
            continue
        free[away.argmin()] = False
        shown.append(number)
        top, left = cells[away.argmin()] * box
        picture[top : top + box[0] - 1, left : left + box[1] - 1] = frames[number]
        inside = (
            slice(top + border, top + box[0] - 1 - border),
            slice(left + border, left + box[1] - 1 - border),
        )
        picture[inside] = _small(images[number], box - 1 - 2 * border)
    left, top = low[0] - box[1] / 2 / scale, high[1] + box[0] / 2 / scale
    extent = left, left + picture.shape[1] / scale, top - picture.shape[0] / scale, top
    return picture, extent, np.array(shown)


def _small(image: np.ndarray, size: Sequence[int] | np.ndarray) -> np.ndarray:
    """Resize an image in pixel units to `(*size, 3)` intensities."""
    whole = np.broadcast_to(np.clip(image, 0, 255), (*image.shape[:2], 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(whole).resize((int(size[1]), int(size[0])), Image.Resampling.BOX)) / 255
