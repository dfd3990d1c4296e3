"""Projections of the strongest units of a layer, as one sprite sheet for each unit and sheets for the grid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from deconv.deconvnet.mirrorable import why_not
from deconv.explorer.material import Material
from deconv.explorer.pictures import SUFFIX, as_bytes, drawable, fitted, resized, sheet, write_picture
from deconv.topk.results import TopActivations

TILE, GRID_TILE = 112, 72
"""Longest side of a projection on the page of its unit, and in the grid of its layer, in pixels."""
GRID_COLUMNS = 8
_UNITS_PER_CHUNK = 128


class LayerPictures:
    """Writes the pictures of a layer, a chunk of channels at a time.

    Args:
        material: The `Material`.
        layer: Name of the layer.
        tops: Strongest units of all its channels.
        size: `(height, width)` of the largest receptive field.

    Attributes:
        reason: Why the layer has no projections; empty if it has.
    """

    def __init__(self, material: Material, layer: str, tops: TopActivations, size: tuple[int, int]) -> None:
        self.material, self.layer, self.tops, self.size = material, layer, tops, size
        self.reason = why_not(material.net, layer)
        self.folder = material.out / "pictures" / material.pages[layer]
        self._grid: list[np.ndarray] = []
        self._sheets = 0

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the channels in chunks of about 128 units."""
        count, k = self.tops.ids.shape
        step = max(1, _UNITS_PER_CHUNK // max(1, k))
        for first in range(0, count, step):
            yield np.arange(first, min(count, first + step))

    def write(self, channels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Write the sheets of a chunk of channels; all chunks must be written in order, then `finish`.

        Returns:
            The preprocessed images of its strongest units, and for each unit the number of its image.
        """
        from deconv.plotting.display import crop, intensities, signed  # loads Matplotlib

        material, tops = self.material, self.tops
        ids, positions, windows = (part[channels] for part in (tops.ids, tops.positions, tops.windows))
        unique, numbers = np.unique(ids, return_inverse=True)
        numbers = numbers.ravel()
        images = material.store.images(unique)
        inputs, each = material.inputs(images), np.repeat(channels, ids.shape[1])
        windows = windows.reshape(-1, 4)
        if self.reason:
            shown = crop(drawable(intensities(images))[numbers], windows, self.size)
        else:
            positions = positions.reshape(-1, 2)
            projections = material.net.project_units(
                inputs, self.layer, each, positions, numbers=numbers, batch_size=material.batch_size
            )
            projections = material.in_pixel_space(projections, images.shape[-1])
            shown = signed(drawable(crop(projections, windows, self.size)), percentile=material.contrast)
        tiles = resized(as_bytes(shown), TILE).reshape(*ids.shape, *fitted(self.size, TILE), -1)
        for channel, of_unit in zip(channels.tolist(), tiles, strict=True):
            if not self.reason and tops.values[channel, 0] > 0:
                columns = min(3, len(of_unit))
                path = self.folder / f"{channel}{SUFFIX}"
                write_picture(path, sheet(of_unit, columns), tile=max(of_unit.shape[1:3]))
        self._grid += list(resized(tiles[:, 0], GRID_TILE))
        while len(self._grid) >= GRID_COLUMNS**2:
            self._write_grid()
        return inputs, numbers

    def finish(self) -> None:
        """Write the last sheet of the grid."""
        if self._grid:
            self._write_grid()

    def _write_grid(self) -> None:
        tiles = np.stack(self._grid[: GRID_COLUMNS**2])
        del self._grid[: GRID_COLUMNS**2]
        path = self.folder / f"grid-{self._sheets}{SUFFIX}"
        write_picture(path, sheet(tiles, GRID_COLUMNS), tile=max(tiles.shape[1:3]))
        self._sheets += 1

    def write_attribution(self, channels: np.ndarray, inputs: np.ndarray, numbers: np.ndarray) -> None:
        """Write an explanation of each channel in its strongest image, `attribution-CHANNEL`."""
        from deconv.attribution import METHODS
        from deconv.plotting.display import signed

        material = self.material
        assert material.attribution is not None
        first = numbers.reshape(len(channels), -1)[:, 0]
        options: dict[str, Any] = {"batch_size": material.batch_size}
        maps = METHODS[material.attribution](material.model, inputs[first], channels, self.layer, **options)
        maps = np.asarray(maps, np.float64)
        maps = maps if maps.ndim == 4 else maps[..., None]
        shown = resized(as_bytes(signed(maps.sum(axis=-1, keepdims=True), percentile=99.5)), TILE * 2)
        for channel, tile in zip(channels.tolist(), shown, strict=True):
            write_picture(self.folder / f"attribution-{channel}{SUFFIX}", tile)

    def write_visualizations(self, channels: np.ndarray) -> None:
        """Write an image optimised for each channel, `optimised-CHANNEL`."""
        from deconv.features import visualize

        material = self.material
        result = visualize(
            material.model,
            self.layer,
            channels.tolist(),
            preprocess=material.preprocess,
            **{"batch_size": material.batch_size, **(material.visualize or {})},
        )
        for channel, image in zip(channels.tolist(), result.images, strict=True):
            tile = as_bytes(drawable(image[None]) / 255)[0]
            write_picture(self.folder / f"optimised-{channel}{SUFFIX}", tile, longest=TILE * 2)
