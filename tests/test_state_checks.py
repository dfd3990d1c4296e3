"""A state that no scan can have left is refused by name, whatever part of it was changed."""

import json
import re
import tracemalloc

import numpy as np
import pytest
from test_topk_state import MAPS, SOURCE, content, drawn, state_of

from deconv.topk.ranking import NO_IMAGE
from deconv.topk.state import TopK


def forge(path, change, sources=(SOURCE,), save=np.savez):
    """A file as `TopK.save` writes it, of 5 images, with a change of its description and arrays."""
    state_of(drawn(5), sources=sources).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(str(arrays.pop("about")))
    change(about, arrays)
    save(path, about=np.array(json.dumps(about)), **arrays)
    return path


def put(name, value, place=(0, 0)):
    def change(about, arrays):
        arrays[name][place] = value

    return change


def swap(name, first, second):
    """Exchange two entries of the first channel."""

    def change(about, arrays):
        row = arrays[name][0]
        row[first], row[second] = row[second].copy(), row[first].copy()

    return change


def replace(name, make):
    def change(about, arrays):
        arrays[name] = make(arrays[name])

    return change


def say(**members):
    def change(about, arrays):
        about.update(members)

    return change


def source(identity=SOURCE.identity, images=5, complete=False):
    return say(sources=[[identity, images, complete]])


def drop(name):
    def change(about, arrays):
        (about if name in about else arrays).pop(name)

    return change


def test_what_was_not_changed_is_read(tmp_path):
    path = forge(tmp_path / "top.npz", lambda about, arrays: None)
    assert content(TopK.load(path)) == content(state_of(drawn(5), sources=[SOURCE]))


ARRAYS = {
    "NaN": (put("0.values", np.nan), "values are not all finite (layer 'conv')"),
    "infinity": (put("1.values", np.inf), "values are not all finite (layer 'dense')"),
    "minus infinity": (put("0.values", -np.inf, (0, 3)), "values are not all finite"),
    "the weakest first": (
        replace("0.values", lambda a: np.tile(np.arange(4, dtype=a.dtype), (5, 1))),
        "values are not sorted from the strongest",
    ),
    "one in the wrong place": (put("1.values", 100.0, (2, 3)), "values are not sorted from the strongest"),
    "an image twice": (
        lambda about, arrays: arrays["0.ids"].__setitem__((1, 1), arrays["0.ids"][1, 0]),
        "ids hold an image twice for a channel (layer 'conv')",
    ),
    "below the map": (put("0.positions", -1), "positions are not all in its map (layer 'conv')"),
    "beyond the map": (put("0.positions", 12), "positions are not all in its map (layer 'conv')"),
    "beyond a dense layer": (put("1.positions", 1, (3, 2)), "positions are not all in its map (layer 'dense')"),
    "a negative id": (put("0.ids", -7), "counted from 0"),
    "no image with a value": (put("0.ids", NO_IMAGE, (0, 3)), "not empty where there is no image"),
    "values of another dtype": (
        replace("0.values", lambda values: values.astype("float64")),
        "the values of layer 'conv' must be float32 (5, 4), received float64 (5, 4)",
    ),
    "ids of another dtype": (
        replace("0.ids", lambda ids: ids.astype("int32")),
        "the ids of layer 'conv' must be int64",
    ),
    "ids that are texts": (replace("1.ids", lambda ids: ids.astype(str)), "the ids of layer 'dense' must be int64"),
    "complex values": (replace("0.values", lambda values: values + 1j), "the values of layer 'conv' must be float32"),
    "a channel less": (replace("0.ids", lambda ids: ids[:4]), "the ids of layer 'conv' must be int64 (5, 4)"),
    "a channel less in all": (
        lambda about, arrays: arrays.update({name: array[:4] for name, array in arrays.items()}),
        "of layer 'conv' must be",
    ),
    "labels of another width": (replace("0.labels", lambda a: a[:, :2]), "the labels of layer 'conv' must be int64"),
    "a scalar": (replace("0.positions", lambda a: np.array(0)), "the positions of layer 'conv' must be int64 (5, 4)"),
    "no labels": (drop("1.labels"), "the labels of layer 'dense' must be int64 (6, 4), received float64 (0,)"),
    "no units at all": (
        lambda about, arrays: arrays.update({name: array[:, :0] for name, array in arrays.items()}),
        "the ids of layer 'conv' are empty, although images have been processed",
    ),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_no_scan_leaves_are_refused_with_file_layer_and_array(tmp_path, name):
    change, message = ARRAYS[name]
    images = {**SOURCE.identity, "size": 5}
    path = forge(tmp_path / "top.npz", change, [SOURCE._replace(identity=images)])
    with pytest.raises(ValueError, match=f"top.npz' holds no state that can be read: .*{re.escape(message)}") as told:
        TopK.load(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_equal_values_whose_ids_are_in_another_order_are_refused(tmp_path, first):
    def change(about, arrays):
        arrays["0.values"][0] = 1
        arrays["0.ids"][0] = [1, 2, 3, 4]
        swap("0.ids", first, first + 1)(about, arrays)

    with pytest.raises(ValueError, match="equal ones by id"):
        TopK.load(forge(tmp_path / "top.npz", change))


DESCRIPTIONS = {
    "k is a text": (say(k="4"), "'k' must be a whole number, received a string"),
    "k is true": (say(k=True), "'k' must be a whole number, received true or false"),
    "k is 0": (say(k=0), "'k' must be at least 1, received 0"),
    "k is huge": (say(k=10**30), None),
    "maps is a list": (say(maps=[]), "'maps' must be an object, received a list"),
    "a map without dtype": (say(maps={"conv": [[3, 4, 5]]}), "'maps' must hold a shape and float32 or float64"),
    "a map of objects": (say(maps={"conv": [[3, 4, 5], "object"]}), "'maps' must hold a shape"),
    "a map of no size": (say(maps={"conv": [[3, 0, 5], "float32"]}), "'maps' must hold a shape"),
    "a map of half a size": (say(maps={"conv": [[3, 4.5, 5], "float32"]}), "'maps' must hold a shape"),
    "a huge map": (say(maps={"conv": [[3, 4, 10**12], "float32"]}), "the values of layer 'conv' must be"),
    "made by a list": (say(made_by=[1]), "'made_by' must be an object"),
    "another input shape": (say(made_by={"input_shape": "big"}), "'input_shape' must be a list of whole numbers"),
    "no maps": (drop("maps"), "it has no 'maps'"),
    "sources is an object": (say(sources={}), "'sources' must be a list, received an object"),
    "sources is null": (say(sources=None), "'sources' must be a list, received null"),
    "a source is a number": (say(sources=[1]), "'sources' must hold lists of identity, images, complete; received 1"),
    "a source is short": (say(sources=[[{}]]), "'sources' must hold lists"),
    "an identity is a list": (source(identity=[]), "'identity' of a source must be an object, received a list"),
    "an identity is empty": (source(identity={}), "it has no 'numbered'"),
    "numbered is a text": (source(identity={"numbered": "yes"}), "'numbered' must be true or false"),
    "images is a text": (source(images="5"), "'images' of a source must be a whole number, received a string"),
    "images is negative": (source(images=-1), "'images' of a source must be 0 or more, received -1"),
    "more images than there are": (
        source(identity={**SOURCE.identity, "size": 5}, images=6),
        "'images' of a source must be 0 or more and 5 at most, received 6",
    ),
    "more images than an array has": (
        source(identity={"kind": "arrays", "numbered": False, "shape": [5, 3, 4, 1]}, images=6),
        "0 or more and 5 at most, received 6",
    ),
    "complete is a number": (
        source(complete=1),
        "'complete' of a source must be true or false, received a whole number",
    ),
    "complete without images": (source(images=0, complete=True), "'complete' of a source must be false"),
    "not a number": (say(k=float("nan")), "it contains NaN"),
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_description_of_another_form_is_refused_with_file_and_field(tmp_path, name):
    change, message = DESCRIPTIONS[name]
    path = forge(tmp_path / "top.npz", change)
    if message is None:  # more than any data set has, which is allowed
        assert TopK.load(path).k == 10**30
        return
    with pytest.raises(ValueError, match=f"top.npz' holds no state that can be read: .*{re.escape(message)}"):
        TopK.load(path)


def test_a_description_that_is_nested_too_deeply_or_no_text_is_refused(tmp_path):
    path = tmp_path / "top.npz"
    for about in (np.array("[" * 50000), np.array(b"{}"), np.array(["{}"]), np.array(1.0)):
        np.savez(path, about=about)
        with pytest.raises(ValueError, match="holds no state that can be read"):
            TopK.load(path)


def test_a_compressed_state_is_refused_before_it_is_inflated(tmp_path):
    def large(about, arrays):
        about["k"] = 10**7
        shape = 5, 10**5
        arrays.update({f"0.{name}": np.zeros(shape, arrays[f"0.{name}"].dtype) for name in ("ids", "labels", "values")})

    path = forge(tmp_path / "top.npz", large, save=np.savez_compressed)
    tracemalloc.start()
    with pytest.raises(ValueError, match="its arrays are compressed; those of a checkpoint are not"):
        TopK.load(path)
    assert tracemalloc.get_traced_memory()[1] < 2 * 10**6
    tracemalloc.stop()


def test_ids_below_zero_that_a_user_gave_come_back(tmp_path):
    state = TopK(MAPS, 4)
    activations, ids, labels = drawn(5)
    state.update(activations, ids - 100, labels)
    state.save(tmp_path / "top.npz")
    assert content(TopK.load(tmp_path / "top.npz")) == content(state)
