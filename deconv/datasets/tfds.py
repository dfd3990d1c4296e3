"""Image classification sets of TensorFlow Datasets. They are downloaded only on request."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import numpy as np
import tensorflow as tf

from deconv.datasets import imagenet
from deconv.datasets.image_set import Encoded, ImageSet, Split, fit_image
from deconv.datasets.labels import labels_of

NAMES = {"mnist": "mnist", "imagenette": "imagenette/320px-v2", "imagenet": "imagenet2012"}
"""Short names of sets, and their names in TFDS."""
_SHORT_NAMES = {name: short for short, name in NAMES.items()}
_CONNECT_SECONDS = 5
_NAME = re.compile(r"[\w-]+(/[\w.+-]+)?(:[\d.*]+)?")


def prepared(
    name: str,
    split: Split = "test",
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    image_size: tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
) -> ImageSet:
    """A set of TFDS that is prepared in its folder, or is downloaded into it.

    The id of an image is its position in the files of its split; with `split="all"` the numbers of the test images
    continue those of the training images. The test images are the builder's `test` split, or its `validation` split if
    it has no test split or one without labels, as in `voc/2012`. Classes that TFDS names by WordNet ids (`n01440764`)
    are shown with their readable names ("tench").

    Args:
        name: As in `tfds.load`: `"mnist"`, `"imagenette/320px-v2"`, `"cifar10:3.0.2"`.
        split: `"train"`, `"test"` or `"all"`.
        data_dir: Folder of the data sets; by default `TFDS_DATA_DIR`, else the default of TFDS.
        download: Whether to download and prepare the set if it is missing.
        image_size: `(height, width)` to resize to; required where images differ in size.
        channels: 1, 3 or None.

    Returns:
        An `ImageSet`.

    Raises:
        ValueError: If the set is unknown, missing, or not an image classification set.
        ImportError: If TFDS, or a package it needs, is missing.
        ConnectionError: If it is to be downloaded and the network does not respond.
    """
    tfds = _tfds()
    builder = _builder(tfds, name, data_dir)
    if not _is_prepared(builder):
        if not download:
            raise ValueError(_not_prepared(builder, name))
        _fetch(builder, name)
    labels = _labels(tfds, builder, name)
    feature = builder.info.features["image"]
    parts = [_part(tfds, builder, labels, part, name) for part in (("train", "test") if split == "all" else (split,))]

    def numbered(position, example):
        return example["image"], labels.read(example), position

    streams, size = [], 0
    for part in parts:
        streams.append(_examples(tfds, builder, part, labels).enumerate(size).map(numbered))
        size += builder.info.splits[part].num_examples
    shape = _image_shape(feature, streams[0], image_size, channels)

    def decode(image, label, position):
        image = fit_image(feature.decode_example(image), image_size, channels)
        same = tf.reduce_all(tf.equal(tf.shape(image), shape))
        message = f"ValueError: The images of '{name}' differ in size: the first is {shape}. Give image_size=(h, w)."
        with tf.control_dependencies([tf.debugging.Assert(same, [message, tf.shape(image)])]):
            image = tf.ensure_shape(tf.identity(image), shape)
        return image, label, position

    encoded = Encoded.of(streams[0] if len(streams) == 1 else streams[0].concatenate(streams[1]), decode)
    return ImageSet(
        name=_SHORT_NAMES.get(name, f"tfds:{name}"),
        split=split,
        dataset=encoded.dataset,
        class_names=imagenet.readable(labels.class_names),
        size=size,
        image_shape=shape,
        source=f"{builder.info.full_name} of TensorFlow Datasets, split {' and '.join(map(repr, parts))}, "
        f"{size:,} images.",
        encoded=encoded,
        train_size=0 if split == "test" else builder.info.splits[parts[0]].num_examples,
    )


def _examples(tfds, builder, part, labels):
    """Examples of a split in the order of its files: encoded images, and the features of their labels."""
    wanted = dict.fromkeys(("image", *labels.features), True)
    return builder.as_dataset(
        split=part,
        shuffle_files=False,
        decoders=tfds.decode.PartialDecoding(wanted, {"image": tfds.decode.SkipDecoding()}),
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )


def _tfds():
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            f"TensorFlow Datasets cannot be imported ({error}). Install it with: "
            'pip install tensorflow-datasets importlib_resources. Without it, "mnist-5k", "imagenet-20" '
            "and a folder of images can be loaded."
        ) from error
    return tensorflow_datasets


def _builder(tfds, name, data_dir):
    if not _NAME.fullmatch(name):
        raise ValueError(f"'{name}' is not the name of a TFDS set; expected NAME, NAME/CONFIG or NAME:VERSION.")
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")
    data_dir = None if data_dir is None else Path(os.path.expanduser(data_dir))
    if data_dir is not None and data_dir.exists() and not data_dir.is_dir():
        raise ValueError(f"--data-dir (data_dir=) must be a folder; '{data_dir}' is a file.")
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError:
        close = difflib.get_close_matches(name, tfds.list_builders(with_community_datasets=False), n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        place = f" It is not in '{data_dir}' either." if data_dir else ""
        raise ValueError(f"TFDS has no data set '{name}'.{hint}{place}") from None
    except ImportError as error:
        raise ImportError(f"TFDS needs a package that is missing: {error}. Install it with pip.") from error
    except Exception as error:  # a wrong config or version: TFDS raises its own exceptions with long messages
        raise ValueError(f"TFDS cannot open '{name}': {_one_line(error)}") from error


def _is_prepared(builder):
    return Path(builder.data_dir).is_dir() and bool(builder.info.splits)


def _not_prepared(builder, name):
    root = Path(builder.data_dir_root)
    others = []
    family = root / builder.name
    if builder.builder_config is not None and family.is_dir():
        others = sorted(f"{builder.name}/{path.name}" for path in family.iterdir() if path.name[0] != ".")
    there = f" It contains {', '.join(others)}." if others else ""
    fetch = "let TFDS download it with --download (download=True)"
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        instructions = " ".join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
        fetch = (
            f"or, since TFDS cannot download it, put its archives into '{_manual_dir(builder)}' and let TFDS prepare "
            f'the set with --download (download=True); instructions of TFDS: "{instructions}"'
        )
    return (
        f"The data set '{name}' is not prepared in '{root}'.{there} Give the right folder with --data-dir (data_dir=, "
        f"or the environment variable TFDS_DATA_DIR); {fetch}; "
        "or use mnist-5k (digits) or imagenet-20 (photographs), which need no network."
    )


def _manual_dir(builder):
    """The folder in which TFDS looks for archives that it cannot download."""
    return Path(builder.data_dir_root) / "downloads" / "manual"


def _fetch(builder, name):
    """Download and prepare a set after a check of the network, since TFDS itself would retry for minutes."""
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        if not _manual_dir(builder).is_dir() or not any(_manual_dir(builder).iterdir()):
            raise ValueError(_not_prepared(builder, name))
    else:
        _check_network(builder, name)
    try:
        builder.download_and_prepare()
    except ImportError as error:
        raise ImportError(f"TFDS needs a package that is missing: {error}. Install it with pip.") from error
    except Exception as error:
        raise OSError(f"TFDS could not download and prepare '{name}': {_one_line(error)}") from error


def _check_network(builder, name):
    import requests

    urls = {urlsplit(url).netloc: url for url in builder.url_infos if url.startswith("http")}
    for host, url in urls.items():
        try:
            requests.head(url, timeout=_CONNECT_SECONDS, allow_redirects=False)
        except requests.RequestException:
            raise ConnectionError(
                f"The data set '{name}' cannot be downloaded: '{host}' does not respond. Connect to the network, give "
                "a folder that contains the set with --data-dir (data_dir=), or use mnist-5k or imagenet-20."
            ) from None


def _one_line(error):
    """The message of a TFDS error, shortened to one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r'^Failed to construct dataset .*?\}": ', "", text)
    return text if len(text) <= 300 else text[:300] + " ..."


def _labels(tfds, builder, name):
    """The `Labels` of a set."""
    features = builder.info.features
    known = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    image, labels = known.get("image"), labels_of(tfds, known)
    if not isinstance(image, tfds.features.Image) or labels is None:
        raise ValueError(
            f"'{name}' is not a set of labelled images: expected the feature 'image', and either 'label' (one class) "
            f"or 'labels' (several classes); got {', '.join(known) or 'none'}."
        )
    if image.np_dtype != np.uint8 or image.shape[-1] not in (1, 3):
        raise ValueError(
            f"The images of '{name}' must be uint8 with 1 or 3 channels, got {image.np_dtype} {image.shape}."
        )
    return labels


def _part(tfds, builder, labels, part, name):
    """The builder's name of a split."""
    splits = builder.info.splits
    for candidate in ("train",) if part == "train" else ("test", "validation"):
        if candidate in splits and (part == "train" or _has_labels(tfds, builder, candidate, labels)):
            return candidate
    raise ValueError(f"'{name}' has no labelled images for split '{part}'; its splits in TFDS are {', '.join(splits)}.")


def _has_labels(tfds, builder, split, labels):
    """Whether the first image has a label; of images with several labels, which may have none, one of the first 100."""
    for label in _examples(tfds, builder, split, labels).take(100).map(labels.read).as_numpy_iterator():
        if label.ndim == 0:
            return label >= 0
        if label.any():
            return True
    return False


def _image_shape(feature, stream, image_size, channels):
    """The shape after resizing; where TFDS declares none, that of the first image."""
    height, width = image_size or feature.shape[:2]
    if height is None or width is None:
        height, width = feature.decode_example(next(iter(stream.take(1)))[0]).shape[:2]
    return (height, width, channels or feature.shape[2])
