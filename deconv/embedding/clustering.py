"""Clustering by k-means, with the number of clusters chosen by the silhouette."""

from __future__ import annotations

import numpy as np

from deconv.validation import check_positive

MOST_CLUSTERS = 12
"""Largest number of clusters that is tried."""


def clustered(
    points: np.ndarray, count: int | None = None, seed: int = 0, most: int = MOST_CLUSTERS
) -> tuple[np.ndarray, dict[int, float]]:
    """Cluster points by k-means, the largest cluster first.

    Args:
        points: `(n, axes)`, n at least 3.
        count: Number of clusters; None for the number from 2 to `most` with the largest mean silhouette.
        seed: Seed of the initialisation of k-means.
        most: Largest number of clusters that is tried.

    Returns:
        `(clusters, silhouettes)`: `(n,)` ints from 0, and `{number of clusters: mean silhouette}` for the numbers
        tried.

    Raises:
        ValueError: If there are fewer different points than clusters.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score
    from threadpoolctl import threadpool_limits

    different = len(np.unique(points.round(9), axis=0))
    if count is not None and check_positive("clusters", count) > different:
        raise ValueError(f"clusters must be at most {different}, the number of different points; received {count}.")
    tried: dict[int, np.ndarray] = {}
    silhouettes: dict[int, float] = {}
    with threadpool_limits(1):  # the order of summation of several threads is not deterministic
        for number in range(2, min(most, different, len(points) - 1) + 1) if count is None else [count]:
            tried[number] = KMeans(number, n_init=10, random_state=seed).fit_predict(points)
            if 1 < number < len(points):
                silhouettes[number] = float(silhouette_score(points, tried[number]))
    if not tried:
        return np.zeros(len(points), np.int64), {}
    best = count or max(silhouettes, key=silhouettes.__getitem__)
    _, first, places, sizes = np.unique(tried[best], return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    return np.argsort(order)[places], silhouettes
