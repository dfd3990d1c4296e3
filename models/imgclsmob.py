"""AlexNet and ZFNet in the geometry of imgclsmob, which publishes weights trained on ImageNet for them.

The geometry is that of `tf2cv` 0.0.18 (`tf2cv/models/alexnet.py`, `tf2cv/models/zfnet.py`), the TensorFlow package of
https://github.com/osmr/imgclsmob. It differs from the paper's and from BVLC's:

- no grouped convolutions;
- contrast normalisation precedes pooling in both networks, with TensorFlow's conventions: 11 neighbouring channels, the
  sum of their squares times 1e-4, not divided by their number;
- ZFNet's first convolution pads one pixel on every side;
- where the last pooling window would not be complete, maps are padded with one zero on every side, so that the windows
  begin one cell before the map.

The paper's network (Fig. 3 there) pools first and normalises afterwards; `models.zfnet` builds it.

The weights were evaluated on images resized to 256 pixels on their shorter side, that is 224 / 0.875, of which the
central 224 x 224 were taken, divided by 255, and standardised with ImageNet's mean and deviation (`eval_tf2.py` and
`tensorflow2/datasets/imagenet1k_cls_dataset.py` of imgclsmob). `preprocess_input` does the last two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import keras

from models import classifier_head
from models.alexnet_owt import preprocess_input, to_pixels
from models.imagenet import decode_predictions
from models.layers import LocalResponseNormalization
from models.loading import validation, weight_files

if TYPE_CHECKING:
    import os


__all__ = ["build", "decode_predictions", "preprocess_input", "to_pixels"]

_SMALLEST_SIDE = 63  # the output of pool5 is empty for smaller images
_KNOWN = {
    "imagenet": validation.Known(classes=1000, input_shape=(224, 224, 3), sides=range(224, 225), units=(4096, 4096))
}


class _Geometry(NamedTuple):
    """First and second convolution as (size, stride, padding), and the filters of the last three."""

    conv1: tuple[int, int, int]
    conv2: tuple[int, int, int]
    filters: tuple[int, int, int]


_GEOMETRY = {
    "alexnet": _Geometry((11, 4, 0), (5, 1, 2), (384, 384, 256)),
    "zfnet": _Geometry((7, 2, 1), (5, 2, 0), (384, 384, 256)),
    "zfnetb": _Geometry((7, 2, 1), (5, 2, 0), (512, 1024, 512)),
}


def build(
    network: Literal["alexnet", "zfnet", "zfnetb"],
    title: str,
    weights: str | os.PathLike | None,
    input_shape: Sequence[int | None],
    classes: int | None,
    units: int | Sequence[int] | None,
    dropout: float,
    include_top: bool,
    classifier_activation: str | Callable | None,
    name: str,
) -> keras.Model:
    """Build one of the networks. `models.AlexNet` and `models.ZFNet` call this with `geometry="imgclsmob"`.

    Args:
        network: `"alexnet"`, `"zfnet"` or `"zfnetb"`, the wider one.
        title: Name of the calling function, for messages.
        weights: `"imagenet"`, a path, or None.
        input_shape: `(height, width, channels)`, at least 63 x 63.
        classes, units, dropout, include_top, classifier_activation, name: See `models.ZFNet`.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: If an argument is out of range, or `weights` is unknown, unreadable, or does not fit.
        ConnectionError, OSError: If `"imagenet"` cannot be fetched: see `models.loading.imagenet_weights`.
    """
    input_shape = validation.check_input_shape(title, input_shape, _SMALLEST_SIDE)
    chosen = validation.check_weights(f'{title}(geometry="imgclsmob")', weights, _KNOWN)
    classes, units = validation.sizes(title, chosen, _KNOWN["imagenet"], classes, units)
    dropout = validation.check_rate(title, "dropout", dropout)
    if isinstance(chosen, str):
        known = _KNOWN[chosen]
        validation.check_known(title, chosen, known, input_shape, include_top, classes=classes, units=units)
    file: Path | None = validation.file_of(chosen, _KNOWN, f"{network}_imgclsmob")

    x = image = keras.Input(input_shape, name="image")
    x = _features(x, _GEOMETRY[network])
    if include_top:
        x = classifier_head.dense_layers(
            x, units, classes, dropout=dropout, activation=classifier_activation, settings={"activation": "relu"}
        )
    model = keras.Model(image, x, name=name)
    if file is not None:
        weight_files.load(model, file, beside=() if include_top else classifier_head.LAYERS)
    return model


def _features(x: keras.KerasTensor, geometry: _Geometry) -> keras.KerasTensor:
    """The convolutions, normalisations and poolings."""
    for number, filters, (size, stride, padding) in ((1, 96, geometry.conv1), (2, 256, geometry.conv2)):
        x = _convolution(x, number, filters, size, stride, padding)
        x = LocalResponseNormalization(size=11, k=2.0, alpha=1e-4, beta=0.75, name=f"norm{number}")(x)
        x = _pool(x, number)
    for number, filters in zip((3, 4, 5), geometry.filters, strict=True):
        x = _convolution(x, number, filters, 3, 1, 1)
    return _pool(x, 5)


def _convolution(
    x: keras.KerasTensor, number: int, filters: int, size: int, stride: int, padding: int
) -> keras.KerasTensor:
    """A convolution with ReLU after padding on every side."""
    settings: dict[str, Any] = {"data_format": "channels_last", "activation": "relu", "name": f"conv{number}"}
    if stride == 1 and 2 * padding == size - 1:
        return keras.layers.Conv2D(filters, size, padding="same", **settings)(x)
    if padding:
        x = keras.layers.ZeroPadding2D(padding, data_format="channels_last", name=f"pad{number}")(x)
    return keras.layers.Conv2D(filters, size, strides=stride, **settings)(x)


def _pool(x: keras.KerasTensor, number: int) -> keras.KerasTensor:
    """Max pooling 3x3 at stride 2; axes on which the last window is incomplete are padded with a zero at both ends."""
    paddings = tuple((side - 3) % 2 for side in x.shape[1:3])
    if any(paddings):
        x = keras.layers.ZeroPadding2D(paddings, data_format="channels_last", name=f"pad_pool{number}")(x)
    return keras.layers.MaxPooling2D(3, 2, data_format="channels_last", name=f"pool{number}")(x)
