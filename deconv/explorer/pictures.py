"""Tiles and sprite sheets as WebP files, or PNG where Pillow has no WebP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, features

from deconv.runtime.atomic_files import replacing

_WEBP = features.check("webp")
SUFFIX = ".webp" if _WEBP else ".png"
_LOSSLESS_BELOW = 64
"""Pictures of at most this side are stored without loss: their pixels are drawn enlarged."""


def as_bytes(intensities: np.ndarray) -> np.ndarray:
    """Convert intensities from 0 to 1 to uint8; NaN becomes mid-grey."""
    return np.rint(np.nan_to_num(np.clip(intensities, 0, 1), nan=0.5) * 255).astype(np.uint8)


def drawable(images: np.ndarray) -> np.ndarray:
    """Return images of one or three channels unchanged, and of all others the mean over the channels."""
    return images if images.shape[-1] in (1, 3) else images.mean(axis=-1, keepdims=True)


def resized(tiles: np.ndarray, longest: int) -> np.ndarray:
    """Reduce tiles `(n, height, width, channels)`, uint8, so that the longest side is at most `longest` pixels."""
    size = fitted(tiles.shape[1:3], longest)
    if size == tiles.shape[1:3]:
        return tiles
    return np.stack([_as_array(_image(tile).resize(size[::-1], Image.Resampling.BOX)) for tile in tiles])


def fitted(size: tuple[int, ...], longest: int) -> tuple[int, int]:
    """Return `(height, width)` reduced to a longest side of at most `longest`."""
    height, width = size
    ratio = min(1.0, longest / max(height, width))
    return max(1, round(height * ratio)), max(1, round(width * ratio))


def sheet(tiles: np.ndarray, columns: int) -> np.ndarray:
    """Arrange uint8 tiles `(n, height, width, channels)` row by row without gaps; empty places are mid-grey."""
    count, height, width, channels = tiles.shape
    rows = -(-count // columns)
    whole = np.full((rows * columns, height, width, channels), 128, np.uint8)
    whole[:count] = tiles
    whole = whole.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return whole.reshape(rows * height, columns * width, channels)


def write_picture(path: Path, pixels: np.ndarray, longest: int | None = None, tile: int | None = None) -> None:
    """Write uint8 pixels `(height, width, 1 or 3)` as WebP or PNG.

    Args:
        path: The file, with the suffix `SUFFIX`.
        pixels: The picture.
        longest: Longest side, to which a larger picture is reduced; None to keep its size.
        tile: Longest side of the tiles of a sheet; None for a single picture. Small ones are stored without loss.
    """
    if longest is not None:
        pixels = resized(pixels[None], longest)[0]
    is_small = (tile or max(pixels.shape[:2])) <= _LOSSLESS_BELOW and pixels.size < 400_000
    with replacing(path) as partial:
        if _WEBP:
            settings = {"lossless": True, "quality": 60} if is_small else {"quality": 78}
            _image(pixels).save(partial, "WEBP", method=2, **settings)
        else:
            _image(pixels).save(partial, "PNG", optimize=True)


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _as_array(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]
