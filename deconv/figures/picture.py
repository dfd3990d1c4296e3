"""Figures on disk: PNG and PDF, the numbers of the figure, and its provenance."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import tensorflow

import deconv
from deconv.figures.published_results import Finding, Table
from deconv.graph import fingerprint
from deconv.runtime.atomic_files import replacing
from deconv.runtime.short_repr import short_repr
from deconv.validation import preprocessed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deconv.figures.subject import Subject

_PIXELS = 2**23
"""Number of pixel values that are hashed to identify a data set."""


class Picture(NamedTuple):
    """A figure drawn by a recipe.

    Attributes:
        name: File name without extension.
        title: Title, one line.
        caption: Description of the figure and how to read it.
        figure: The Matplotlib figure.
        numbers: Data of the figure, a dict of arrays and numbers.
        findings: Test results for claims of the paper.
        tables: Our tables, each with the paper's table beside it.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    numbers: dict[str, Any]
    findings: Sequence[Finding] = ()
    tables: Sequence[Table] = ()

    def __repr__(self) -> str:
        return short_repr(self)


def save(picture: Picture, folder: str | os.PathLike, provenance: dict[str, Any], dpi: int = 130) -> None:
    """Write `<name>.png`, `.pdf` and `.json`, each to a temporary file first, and close the figure."""
    folder = Path(folder)
    about: dict[str, Any] = {"name": picture.name, "title": picture.title, "caption": picture.caption}
    about["provenance"] = provenance
    about["findings"] = [{**finding._asdict(), "verdict": finding.verdict} for finding in picture.findings]
    about["tables"] = [table._asdict() for table in picture.tables]
    about["numbers"] = picture.numbers
    for ending, metadata in (("png", {}), ("pdf", {"CreationDate": None, "ModDate": None})):
        metadata = {"Title": _plain(picture.title), **metadata}
        with replacing(folder / f"{picture.name}.{ending}") as temporary:
            picture.figure.savefig(temporary, dpi=dpi, format=ending, metadata=metadata)
        picture.figure.set_layout_engine("none")  # the first save has computed the layout; repeating it takes seconds
    with replacing(folder / f"{picture.name}.json") as temporary:
        temporary.write_text(json.dumps(_plain(about)) + "\n", encoding="utf-8")
    plt.close(picture.figure)


def provenance(subject: Subject) -> dict[str, Any]:
    """Provenance of the figures of a subject, JSON-serialisable."""
    return {
        "model": subject.model.name,
        "weights": subject.weights,
        "weights_sha256": weights_hash(subject.model),
        "data": subject.data.name,
        "split": subject.data.split,
        "images": subject.data.size,
        "data_source": subject.data.source,
        "images_sha256": content_of(subject.data),
        "preprocess": fingerprint.of_function(subject.preprocess),
        "preprocess_effect": effect_of(subject.preprocess, subject.data),
        "seed": subject.seed,
        "python": platform.python_version(),
        "deconvnet": deconv.__version__,
        **{module.__name__: module.__version__ for module in (tensorflow, keras, np, matplotlib)},
    }


def weights_hash(model: keras.Model) -> str:
    """SHA-256 over names, shapes and float32 values of all weights."""
    digest = hashlib.sha256()
    for weight in model.weights:
        values = np.ascontiguousarray(weight.numpy(), np.float32)
        digest.update(f"{weight.path}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def content_of(image_set: Any) -> str:
    """SHA-256 of an `ImageSet`: of its files (see `deconv.graph.fingerprint.of_files`), or else of its pixels.

    Only the first 8 MB of pixels are read. The identity of the set is included in the hash.
    """
    identity = json.dumps(image_set.identity, sort_keys=True)
    digest = hashlib.sha256(identity.encode())
    if not image_set.files:
        count = max(1, _PIXELS // max(1, int(np.prod(image_set.image_shape))))
        for batch in image_set.dataset.take(count).batch(256).as_numpy_iterator():
            for part in batch:
                digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def effect_of(preprocess: Callable, image_set: Any) -> str | None:
    """SHA-256 of the output of a preprocessing function for two noise images of the size of those of an `ImageSet`.

    Returns:
        Hexadecimal digest; None if the function raises an exception or its second output differs from the first.
    """
    noise = np.random.default_rng(0).integers(0, 256, (2, *image_set.image_shape)).astype(np.uint8)
    try:
        first, second = (np.asarray(preprocessed(noise, preprocess)) for _ in range(2))
    except Exception:  # errors of the preprocessing function are reported where its output is needed
        return None
    digests = [hashlib.sha256(f"{out.dtype} {out.shape}".encode() + out.tobytes()) for out in (first, second)]
    return digests[0].hexdigest() if digests[0].digest() == digests[1].digest() else None


def _plain(value: Any) -> Any:
    """Convert arrays to lists of numbers with five significant digits, NaN to null, and texts to valid UTF-8."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f" and np.isfinite(value).all():  # the same as below, in a tenth of the time
            digits = [float(f"{number:.5g}") for number in value.ravel().tolist()]
            return np.reshape(digits, value.shape).tolist()
        return _plain(value.tolist())
    if isinstance(value, float | np.floating):
        return float(f"{value:.5g}") if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, str):  # names that are not UTF-8 contain surrogates, which cannot be encoded
        return value.encode("utf-8", "backslashreplace").decode()
    return value
