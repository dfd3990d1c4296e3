"""Checks of every part of a saved state: whether a scan can have written it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deconv.graph.fingerprint import Source
from deconv.runtime.json_files import check_kind, check_members
from deconv.topk.ranking import NO_IMAGE, Ranking

if TYPE_CHECKING:
    from deconv.topk.provenance import Maps


def check_about(about: dict[str, Any]) -> None:
    """Check the description of a saved state.

    Args:
        about: A dict, as read from JSON.

    Raises:
        ValueError: If a part is missing or of the wrong type; the message names the part.
    """
    check_members(about, k=int, maps=dict, made_by=dict, sources=list)
    if about["k"] < 1:
        raise ValueError(f"'k' must be at least 1, received {about['k']}")
    for layer, maps in about["maps"].items():
        is_pair = isinstance(maps, list) and len(maps) == 2 and maps[1] in ("float32", "float64")
        if not is_pair or not _is_shape(maps[0]):
            raise ValueError(f"'maps' must hold a shape and float32 or float64 for layer '{layer}', received {maps!r}")
    shape = about["made_by"].get("input_shape")
    if shape is not None and not _is_shape(shape):
        raise ValueError(f"'input_shape' must be a list of whole numbers above 0, received {shape!r}")


def sources_of(about: dict[str, Any]) -> list[Source]:
    """Check and convert the data sets of which a saved state contains units.

    Args:
        about: As for `check_about`.

    Returns:
        List of `Source`.

    Raises:
        ValueError: If one does not have the form of a `Source`, or the number of its processed images exceeds its size.
    """
    sources = []
    for source in about["sources"]:
        if not isinstance(source, list) or len(source) != 3:
            raise ValueError(f"'sources' must hold lists of identity, images, complete; received {source!r}")
        for what, value, kind in zip(Source._fields, source, (dict, int, bool), strict=True):
            check_kind(f"'{what}' of a source", value, kind)
        identity, images, complete = source
        check_members(identity, numbered=bool)
        most = _images_of(identity)
        if images < 0 or (most is not None and images > most):
            raise ValueError(f"'images' of a source must be 0 or more{_up_to(most)}, received {images}")
        if complete and not images:
            raise ValueError("'complete' of a source must be false if no image has been processed")
        sources.append(Source(*source))
    return sources


def ranking_of(
    arrays: Mapping[str, np.ndarray], number: int, layer: str, maps: Maps, k: int, sources: Sequence[Source]
) -> Ranking:
    """Check and assemble the saved ranking of a layer.

    Args:
        arrays: All arrays of the state, `{name: array}`.
        number: Index of the layer.
        layer, maps: Its name and its `Maps`.
        k: Number of units per channel.
        sources: From `sources_of`.

    Returns:
        A `Ranking`.

    Raises:
        ValueError: If an array is missing or cannot result from a scan; the message names the layer and the array.
    """
    ranking = Ranking(*(arrays.get(f"{number}.{name}", np.empty(0)) for name in Ranking._fields))
    width = ranking.ids.shape[1] if ranking.ids.ndim == 2 else 0
    shape = maps.shape[-1], min(k, width)
    dtypes = maps.dtype, "int64", "int64", "int64"
    for name, array, dtype in zip(Ranking._fields, ranking, dtypes, strict=True):
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"the {name} of layer '{layer}' must be {dtype} {shape}, received {array.dtype} {array.shape}"
            )
    if not width and any(source.images for source in sources):
        raise ValueError(f"the ids of layer '{layer}' are empty, although images have been processed")
    is_filled = ranking.ids != NO_IMAGE
    counted = sources and all(
        source.identity.get("kind") == "ImageSet" or not source.identity["numbered"] for source in sources
    )
    checks = {
        "values are not all finite": np.isfinite(ranking.values[is_filled]).all(),
        "positions are not all in its map": (
            (ranking.positions >= 0) & (ranking.positions < math.prod(maps.shape[:-1]))
        ).all(),
        "ids are not all 0 or more, though counted from 0": not counted or (ranking.ids >= 0).all(),
        "ids hold an image twice for a channel": not _twice(ranking.ids),
        "values are not sorted from the strongest to the weakest, equal ones by id": _in_order(
            ranking.values, ranking.ids
        ),
        "values, labels and positions are not empty where there is no image": (
            np.isneginf(ranking.values[~is_filled]).all()
            and (ranking.labels[~is_filled] == -1).all()
            and not ranking.positions[~is_filled].any()
        ),
    }
    for fault, holds in checks.items():
        if not holds:
            raise ValueError(f"the {fault} (layer '{layer}')")
    return ranking


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(size, int) and size > 0 and size is not True for size in value)
    )


def _up_to(most: int | None) -> str:
    return "" if most is None else f" and {most} at most"


def _images_of(identity: dict[str, Any]) -> int | None:
    """Number of images of a data set, if its identity contains it."""
    if identity.get("kind") == "ImageSet":
        count = identity.get("size")
    elif identity.get("kind") == "arrays" and _is_shape(identity.get("shape")):
        count = identity["shape"][0]
    else:
        return None
    return count if isinstance(count, int) else None


def _twice(ids: np.ndarray) -> bool:
    """Whether a row contains an id twice."""
    ids = np.sort(ids, axis=1)
    return ((ids[:, 1:] == ids[:, :-1]) & (ids[:, 1:] != NO_IMAGE)).any()


def _in_order(values: np.ndarray, ids: np.ndarray) -> bool:
    before, after = values[:, :-1], values[:, 1:]
    return ((before > after) | ((before == after) & (ids[:, :-1] <= ids[:, 1:]))).all()
