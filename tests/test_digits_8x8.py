"""The digits that come with scikit-learn."""

import importlib.util

import numpy as np
import pytest
from sklearn.datasets import load_digits

from deconv import datasets


def test_they_are_the_digits_of_scikit_learn_on_a_scale_of_255():
    pictures, labels, ids = datasets.arrays(datasets.load("digits-8x8", "all"))
    digits = load_digits()
    assert (ids == np.arange(1797)).all() and (labels == digits.target).all()
    assert (pictures[..., 0] == np.round(digits.images / 16 * 255)).all()
    assert pictures.dtype == np.uint8 and (pictures.min(), pictures.max()) == (0, 255)


def test_of_each_class_the_last_50_of_the_file_are_for_testing():
    train, test = (datasets.load("digits-8x8", split) for split in ("train", "test"))
    (known, first), (labels, ids) = train.listing(), test.listing()
    assert np.bincount(labels).tolist() == [50] * 10 and (train.size, test.size) == (1297, 500)
    assert sorted([*first, *ids]) == list(range(1797))
    assert all(first[known == digit].max() < ids[labels == digit].min() for digit in range(10))
    assert "the last 50 of each class, held out of the 1,797 UCI digits" in test.source


def test_they_can_be_had_as_large_as_those_of_mnist_and_with_its_margin():
    data = datasets.load("digits-8x8", image_size=(28, 28), channels=3)
    some = data.listing()[1][:20]
    pictures, small = data.pick(some), datasets.load("digits-8x8").pick(some)
    assert pictures.shape == (20, *data.image_shape) == (20, 28, 28, 3)
    inside = np.zeros((28, 28), bool)
    inside[4:24, 4:24] = True
    assert not pictures[:, ~inside].any() and pictures[:, inside].any(axis=(0, 2)).mean() > 0.9
    assert (pictures == pictures[..., :1]).all()
    quarters = pictures[:, 4:24, 4:24, 0].reshape(20, 4, 5, 4, 5).mean(axis=(2, 4))
    expected = small[..., 0].reshape(20, 4, 2, 4, 2).mean(axis=(2, 4))
    assert np.corrcoef(quarters.ravel(), expected.ravel())[0, 1] > 0.98


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sklearn" else find(name))
    with pytest.raises(ImportError, match=r"'digits-8x8' are in the package scikit-learn.*\"deconvnet\[probes\]\""):
        datasets.load("digits-8x8")
