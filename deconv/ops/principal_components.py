"""Inner products of centred vectors, from which their principal components follow."""

from __future__ import annotations

import numpy as np

_COLUMNS = 4096
"""Number of values per vector converted to float64 at a time."""


def inner_products(
    vectors: np.ndarray, mean: np.ndarray, scale: np.ndarray | None = None, others: np.ndarray | None = None
) -> np.ndarray:
    """Compute the Gram matrix of centred vectors, and the inner products of other vectors with them.

    The eigenvectors of the Gram matrix give the principal components of the vectors. If there are fewer vectors than
    values, it is smaller than their covariance matrix. Vectors are converted to float64 in blocks of columns.

    Args:
        vectors: `(n, values)`.
        mean: `(values,)`, subtracted from every vector.
        scale: `(values,)`, by which every centred vector is divided; None for no division.
        others: `(m, values)`, centred and scaled likewise; None for none.

    Returns:
        float64 `(n, n)`, or `(n + m, n)` with others: their inner products with the n vectors are the last m rows.
    """
    count, values = vectors.shape
    products = np.zeros((count + (0 if others is None else len(others)), count))
    for start in range(0, values, _COLUMNS):
        part = slice(start, start + _COLUMNS)
        block = standardised(vectors, mean, scale, part)
        products[:count] += block @ block.T
        if others is not None:
            products[count:] += standardised(others, mean, scale, part) @ block.T
    return products


def standardised(
    vectors: np.ndarray, mean: np.ndarray, scale: np.ndarray | None = None, columns: slice = slice(None)
) -> np.ndarray:
    """Columns of vectors as float64, centred, and divided by a scale if there is one; arguments as above."""
    centred = vectors[:, columns].astype(np.float64) - mean[columns]
    return centred if scale is None else centred / scale[columns]
