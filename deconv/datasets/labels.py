"""Class labels of the sets of TensorFlow Datasets: one class per image, or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import tensorflow as tf

from deconv.runtime.short_repr import short_repr

_SURE = "labels_no_difficult"


class Labels(NamedTuple):
    """The classes of the images of a set.

    Attributes:
        features: Names of the features from which they are read.
        class_names: The classes, as TFDS names them.
        read: Function from an example to its label: int32, one class, negative if unknown; or int8 `(classes,)`, see
            `ImageSet`.
    """

    features: tuple[str, ...]
    class_names: tuple[str, ...]
    read: Callable[[Mapping[str, tf.Tensor]], tf.Tensor]

    def __repr__(self) -> str:
        return short_repr(self)


def labels_of(tfds: ModuleType, features: Mapping[str, Any]) -> Labels | None:
    """The `Labels` of `features`, `{name: feature}`: from `label`, a class, or `labels`, a list; None without either.

    PASCAL VOC's `labels_no_difficult` omits the classes of which an image shows only objects that people find hard to
    recognise. Such an image is neither a positive nor a negative example of the class, as in the challenge itself.
    """
    if isinstance(features.get("label"), tfds.features.ClassLabel):
        return Labels(("label",), tuple(features["label"].names), lambda example: tf.cast(example["label"], tf.int32))
    if not _lists_classes(tfds, features.get("labels")):
        return None
    names = tuple(features["labels"].feature.names)

    def shown(example, feature):
        of_each = tf.one_hot(example[feature], len(names), on_value=True, off_value=False, dtype=tf.bool)
        return tf.cast(tf.reduce_any(of_each, axis=0), tf.int8)  # all 0 for an empty list

    if not _lists_classes(tfds, features.get(_SURE)):
        return Labels(("labels",), names, lambda example: shown(example, "labels"))
    return Labels(
        ("labels", _SURE), names, lambda example: 2 * shown(example, _SURE) - shown(example, "labels")
    )  # 1 if sure, -1 if only hard, else 0


def _lists_classes(tfds, feature):
    return isinstance(feature, tfds.features.Sequence) and isinstance(feature.feature, tfds.features.ClassLabel)
