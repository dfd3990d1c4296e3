"""Embeddings of vectors in the plane that preserve neighbourhoods, by t-SNE or PCA, with their trustworthiness."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from deconv.ops.principal_components import inner_products
from deconv.runtime.optional_packages import require_sklearn
from deconv.runtime.short_repr import short_repr

Method = Literal["tsne", "pca"]


class Layout(NamedTuple):
    """Positions of vectors in the plane.

    Attributes:
        points: float32 `(n, 2)`.
        perplexity: Approximate number of effective neighbours of each point; None for PCA.
        trustworthiness: 0 to 1; 1 if each point's neighbours in the plane are its neighbours among the vectors.
        kl: The final Kullback-Leibler divergence of t-SNE; None for PCA.
        kept: Share of the vectors' variance in the principal components used: two for PCA, the input of t-SNE
            otherwise.
    """

    points: np.ndarray
    perplexity: float | None
    trustworthiness: float
    kl: float | None
    kept: float

    def __repr__(self) -> str:
        return short_repr(self)


def coordinates(vectors: np.ndarray) -> np.ndarray:
    """Rotate vectors to their principal components, the largest first; distances are preserved.

    Args:
        vectors: `(n, values)`.

    Returns:
        float64 `(n, axes)`, at most n axes, with mean zero. The coordinate of largest magnitude of each axis is
        positive.
    """
    count, values = vectors.shape
    mean = vectors.mean(axis=0, dtype=np.float64)
    if values <= count:
        centred = vectors - mean
        components = centred @ np.linalg.eigh(centred.T @ centred)[1]
    else:
        energy, directions = np.linalg.eigh(inner_products(vectors, mean))
        components = directions * np.sqrt(np.maximum(energy, 0))
    components = components[:, ::-1]
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=0)[None], axis=0)
    return components * np.where(largest < 0, -1, 1)


def layout(
    turned: np.ndarray,
    method: Method = "tsne",
    *,
    perplexity: float | None = None,
    components: int = 50,
    neighbours: int = 5,
) -> Layout:
    """Embed points in the plane by t-SNE or PCA.

    t-SNE (van der Maaten & Hinton, JMLR 2008; scikit-learn's Barnes-Hut) of the first principal components, initialised
    with the first two. It uses no random numbers and one thread, because the order of summation of several threads is
    not deterministic; so the result is reproducible. Only neighbourhoods are meaningful, not distances between clusters
    or their sizes.

    Args:
        turned: `(n, axes)`, from `coordinates`; at least 4 points.
        method: `"tsne"`, or `"pca"` for the first two components.
        perplexity: At least 1, less than n; None for 30, or a third of the number of other points if that is less.
        components: Number of principal components that t-SNE uses.
        neighbours: Number of neighbours for the trustworthiness (Venna & Kaski 2001); fewer if there are few points.

    Returns:
        `Layout`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If `method` is unknown, the perplexity does not fit, or all vectors are the same.
    """
    check_sklearn()
    from sklearn.manifold import TSNE, trustworthiness
    from threadpoolctl import threadpool_limits

    count = len(turned)
    perplexity = check_layout(method, perplexity, count)
    energy = np.square(turned).sum(axis=0)
    first = np.zeros((count, 2))
    first[:, : turned.shape[1]] = turned[:, :2]
    if not energy.any():
        raise ValueError("All vectors are the same, so they cannot be embedded. Choose another layer or other images.")
    near = min(neighbours, (count - 1) // 2)
    if method == "pca":
        trusted = trustworthiness(turned, first, n_neighbors=near)
        return Layout(
            points=first.astype(np.float32),
            perplexity=None,
            trustworthiness=float(trusted),
            kl=None,
            kept=float(energy[:2].sum() / energy.sum()),
        )
    start = 1e-4 * first / first[:, 0].std()  # as scikit-learn scales it
    with threadpool_limits(1):
        learner = TSNE(perplexity=perplexity, init=start.astype(np.float32), learning_rate="auto")
        points = learner.fit_transform(turned[:, :components].astype(np.float32))
    trusted = trustworthiness(turned, points, n_neighbors=near)
    return Layout(
        points=points,
        perplexity=perplexity,
        trustworthiness=float(trusted),
        kl=float(learner.kl_divergence_),
        kept=float(energy[:components].sum() / energy.sum()),
    )


def check_layout(method: str, perplexity: float | None, count: int) -> float | None:
    """The perplexity for this number of points; None for PCA.

    Raises:
        ValueError: If the method is unknown, there are fewer than 4 points, or the perplexity does not fit.
    """
    if method not in ("tsne", "pca"):
        raise ValueError(f"method must be 'tsne' or 'pca'; received {method!r}.")
    if count < 4:
        raise ValueError(f"An embedding needs at least 4 points; received {count}.")
    is_number = isinstance(perplexity, int | float | np.number) and not isinstance(perplexity, bool)
    if perplexity is not None and not (is_number and perplexity >= 1):
        raise ValueError(f"perplexity must be a number of at least 1; received {perplexity!r}.")
    if method == "pca":
        return None
    if perplexity is None:
        return min(30.0, (count - 1) / 3)
    if perplexity >= count:
        raise ValueError(
            f"perplexity must be less than the number of points, {count}; received {perplexity!r}. "
            f"Use more points, or at most perplexity={(count - 1) // 3 or 1}."
        )
    return float(perplexity)


def check_sklearn() -> None:
    """Check that scikit-learn is installed.

    Raises:
        ImportError: If it is not; the message explains how to install it.
    """
    require_sklearn("Embeddings", "sklearn.manifold")
