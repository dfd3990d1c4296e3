"""Every result of the public interface prints as one short line of shapes."""

import typing

import numpy as np
import pytest

import deconv
from deconv.runtime.short_repr import short_repr


def results():
    public = [getattr(deconv, name) for name in deconv.__all__]
    public += [getattr(deconv.attribution, name) for name in deconv.attribution.__all__]
    return sorted(
        {one for one in public if isinstance(one, type) and hasattr(one, "_fields")}, key=lambda one: one.__name__
    )


def test_there_are_results():
    assert len(results()) >= 24


@pytest.mark.parametrize("result", results(), ids=lambda one: one.__name__)
def test_a_result_prints_its_fields_and_no_values(result):
    large = np.zeros((100, 30, 30, 3), np.float32)
    text = repr(result(*[large] * len(result._fields)))
    assert all(f"{name}=float32 (100, 30, 30, 3)" in text for name in result._fields)
    assert text.startswith(f"{result.__name__}(") and "\n" not in text and "0.0" not in text


class Specimen(typing.NamedTuple):
    field: object

    def __repr__(self) -> str:
        return short_repr(self)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((0, 2), bool), "bool (0, 2)"),
        (np.array(1.23456789), "1.235"),
        (np.float32(0.5), "0.5"),
        (None, "None"),
        ("conv1", "'conv1'"),
        ({"a": np.zeros(3, np.int64), "b": None}, "{'a': int64 (3,), 'b': None}"),
        ({n: n for n in range(9)}, "{0: 0, 1: 1, 2: 2, ... 9 in all}"),
        ((), "()"),
        ((4, 5), "(4, 5)"),
        ([np.ones(2)] * 5, "[float64 (2,), float64 (2,), float64 (2,), ... 5 in all]"),
        (Specimen(Specimen(7)), "Specimen(field=Specimen(field=7))"),
        (object(), "<object>"),
    ],
)
def test_a_value_is_summarized(value, text):
    printed = repr(Specimen(value))
    assert printed == f"Specimen(field={text})" or (text == "<object>" and printed.startswith("Specimen(field=<object"))


def test_a_tensor_prints_as_an_array():
    import tensorflow as tf

    assert repr(Specimen(tf.zeros((2, 3), tf.bfloat16))) == "Specimen(field=bfloat16 (2, 3))"
