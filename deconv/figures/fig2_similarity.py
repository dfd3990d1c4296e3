"""Similarity of images within and between channels: a numerical test of the claims about Fig. 2."""

import numpy as np

from deconv.figures.published import Finding


def likeness(tiles):
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
    return tuple(float(part.mean()) if part.size else float("nan") for part in (within, between))


def findings(layers, projections, patches):
    """Test the claims about Fig. 2.

    Args:
        layers: Names of the layers, from the lowest to the highest.
        projections, patches: For each layer the `likeness` `(within, between)` of its projections and of its patches.

    Returns:
        List of `Finding`.
    """
    (own, other), (seen, _) = np.transpose(projections), np.transpose(patches)

    def said(*columns):
        return "; ".join(
            f"{layer}: " + " against ".join(f"{value:.2f}" for value in values)
            for layer, *values in zip(layers, *columns, strict=True)
        )

    several, known = len(layers) > 1, not np.isnan([own, other, seen]).any()
    return [
        Finding(
            "fig2-grouping",
            bool((own > other).all()) if known else None,
            "in every layer projections of one channel correlate more than those of different channels",
            said(own, other),
        ),
        Finding(
            "fig2-invariance",
            None,
            "patches of one channel of the last layer were less alike than those of the first for another reason than "
            "being larger",
            f"{said(seen)}: correlations of pixels fall as patches grow, whatever the network",
        ),
        Finding(
            "fig2-discriminative",
            bool((own > seen)[1:].all()) if several and known else None,
            "in every layer but the first projections of one channel correlate more than their patches",
            said(own, seen) if several else "the network has one such layer",
        ),
    ]
