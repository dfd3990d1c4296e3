"""Similarity of images within and between channels: a numerical test of the claims about Fig. 2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from deconv.figures.published_results import Finding


def mean_correlations(tiles: np.ndarray) -> tuple[float, float]:
    """Mean correlation between images of the same channel, and between images of different channels.

    Args:
        tiles: Float array `(channels, k, height, width, depth)`. NaN (outside of an image) is replaced by the mean of
            the tile. Constant tiles are left out.

    Returns:
        `(within, between)`, floats from -1 to 1; NaN where there are no pairs.
    """
    channels, k = tiles.shape[:2]
    vectors = np.asarray(tiles, np.float64).reshape(channels * k, -1)
    known = ~np.isnan(vectors)
    means = np.where(known, vectors, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    vectors = np.where(known, vectors - means[:, None], 0)
    norms = np.linalg.norm(vectors, axis=1)
    owners = np.repeat(np.arange(channels), k)[norms > 0]
    vectors = vectors[norms > 0] / norms[norms > 0, None]
    correlations = vectors @ vectors.T
    same = owners[:, None] == owners
    other_tile = ~np.eye(len(owners), dtype=bool)
    within, between = correlations[same & other_tile], correlations[~same]
    return _mean(within), _mean(between)


def _mean(correlations: np.ndarray) -> float:
    return float(correlations.mean()) if correlations.size else float("nan")


def findings(layers: Sequence[str], projections: ArrayLike, patches: ArrayLike) -> list[Finding]:
    """Test the claims about Fig. 2.

    Args:
        layers: Names of the layers, from the lowest to the highest.
        projections, patches: For each layer the result `(within, between)` of `mean_correlations` for its projections
            and for its patches.

    Returns:
        List of `Finding`.
    """
    (own, other), (own_patches, _) = np.transpose(projections), np.transpose(patches)

    def listed(*columns: np.ndarray) -> str:
        return "; ".join(
            f"{layer}: " + " against ".join(f"{value:.2f}" for value in values)
            for layer, *values in zip(layers, *columns, strict=True)
        )

    several, known = len(layers) > 1, not np.isnan([own, other, own_patches]).any()
    return [
        Finding(
            "fig2-grouping",
            bool((own > other).all()) if known else None,
            "in every layer projections of one channel correlate more than those of different channels",
            listed(own, other),
        ),
        Finding(
            "fig2-invariance",
            None,
            "patches of one channel of the last layer were less alike than those of the first for another reason than "
            "being larger",
            f"{listed(own_patches)}: correlations of pixels fall as patches grow, whatever the network",
        ),
        Finding(
            "fig2-discriminative",
            bool((own > own_patches)[1:].all()) if several and known else None,
            "in every layer but the first projections of one channel correlate more than their patches",
            listed(own, own_patches) if several else "the network has one such layer",
        ),
    ]
