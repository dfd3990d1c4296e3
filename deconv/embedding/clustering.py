"""Which points lie together: clusters, as many as the points themselves suggest."""

import numpy as np

from deconv.validation import check_positive

MOST_CLUSTERS = 12
"""How many clusters are tried at most."""


def clustered(points, count=None, seed=0, most=MOST_CLUSTERS):
    """Clusters of points by k-means, the largest first.

    Args:
        points: `(n, axes)`, n at least 3.
        count: How many clusters; None for the number from 2 to `most` with the largest mean silhouette.
        seed: Of where k-means begins.

    Returns:
        `(clusters, silhouettes)`: `(n,)` ints from 0, and `{number: mean silhouette}` of the numbers tried.

    Raises:
        ValueError: If there are not as many different points as clusters.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score
    from threadpoolctl import threadpool_limits

    different = len(np.unique(points.round(9), axis=0))
    if count is not None and check_positive("clusters", count) > different:
        raise ValueError(f"clusters must be at most {different}, as many units differ; received {count}.")
    tried, silhouettes = {}, {}
    with threadpool_limits(1):  # sums of several threads come in any order
        for number in range(2, min(most, different, len(points) - 1) + 1) if count is None else [count]:
            tried[number] = KMeans(number, n_init=10, random_state=seed).fit_predict(points)
            if 1 < number < len(points):
                silhouettes[number] = float(silhouette_score(points, tried[number]))
    if not tried:
        return np.zeros(len(points), np.int64), {}
    best = count or max(silhouettes, key=silhouettes.get)
    _, first, places, sizes = np.unique(tried[best], return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    return np.argsort(order)[places], silhouettes
