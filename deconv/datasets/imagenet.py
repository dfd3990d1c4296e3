"""The 1,000 classes of ILSVRC 2012, the usual output classes of networks trained on ImageNet."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from pathlib import Path

_WNID = re.compile(r"(?<![a-zA-Z0-9])n\d{8}(?![a-zA-Z0-9])")
"""A WordNet id, possibly after the number of the class: `n01440764`, `000_n01440764`."""


@functools.cache
def _names() -> dict[str, str]:
    """`{wnid: name}` in the order of the labels."""
    return dict(json.loads(Path(__file__).with_name("imagenet_classes.json").read_text(encoding="utf-8")))


def class_names() -> tuple[str, ...]:
    """The 1,000 names in the order of the labels: "tench", "goldfish", ..., "toilet tissue".

    The order is that of the WordNet ids (n01440764, n01443537, ...), as in Keras, torchvision, Caffe and TFDS. A name
    is the first WordNet lemma of its class. Five of these lemmas are ambiguous and are given as "crane (bird)", "crane
    (machine)", "maillot (tights)", "maillot (tank suit)" and "Cardigan Welsh corgi", which differs from the garment
    "cardigan".
    """
    return tuple(_names().values())


def readable(labels: Iterable[str]) -> tuple[str, ...]:
    """Replace WordNet ids by readable names.

    Args:
        labels: Texts, one for each class: `"n01440764"`, or with other words beside the id, `"000_n01440764"`.

    Returns:
        A tuple of the same length. If all labels contain one WordNet id each, those of the 1,000 classes are replaced
        by their names and the others by the id; otherwise all are kept.
    """
    labels = tuple(labels)
    ids = [_WNID.findall(label) for label in labels]
    if not all(len(found) == 1 for found in ids):
        return labels
    return tuple(_names().get(found[0], found[0]) for found in ids)
