"""The state of the strongest activations depends on what it has been shown, not on how."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers as kl
from specimens import LAYERS, SPECIMENS, images

import deconv
import models
from deconv.graph.fingerprint import Source
from deconv.topk.state import Maps, TopK

MAPS = {"conv": Maps((3, 4, 5), "float32"), "dense": Maps((6,), "float64")}
SMALL = settings(max_examples=60, deadline=None, derandomize=True)
SEEDS, SIZES = st.integers(0, 999), st.integers(1, 6)


def drawn(count, seed=0, start=0):
    """Activations with many ties, ids in no order, labels."""
    random = np.random.default_rng(seed)
    activations = {
        layer: random.integers(-1, 3, (count, *shape)).astype(dtype) for layer, (shape, dtype) in MAPS.items()
    }
    ids = random.permutation(10 * count)[:count] + start
    return activations, ids, ids % 7


def part_of(shown, chosen):
    activations, *numbers = shown
    return {layer: maps[chosen] for layer, maps in activations.items()}, *(some[chosen] for some in numbers)


def state_of(*parts, k=4, **about):
    state = TopK(MAPS, k, **about)
    for part in parts:
        state.update(*part)
    return state


def content(state):
    """All of a state, to compare bit for bit."""
    arrays = [
        (layer, part.dtype, part.shape, part.tobytes()) for layer, parts in state.rankings.items() for part in parts
    ]
    return state.maps, state.k, state.made_by, state.sources, arrays


def tops_of(state, layer):
    """Values, ids, labels, rows and columns."""
    values, ids, labels, positions = state.rankings[layer]
    columns = state.maps[layer].shape[1] if len(state.maps[layer].shape) == 3 else 1
    return values, ids, labels, *np.divmod(positions, columns)


def assert_is_sorted_fully(state, shown):
    activations, ids, _ = shown
    for layer, maps in activations.items():
        maps = maps.reshape(len(maps), *(maps.shape[1:-1] or (1, 1)), maps.shape[-1])
        values, winners, rows, columns = reference.top_activations(maps, ids, state.k)
        found = tops_of(state, layer)
        expected = values, winners, winners % 7, rows, columns
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


# ---------------------------------------------------------------------------------------------- laws


@SMALL
@given(st.integers(1, 12), st.lists(st.integers(1, 5), min_size=1, max_size=6), SEEDS)
def test_batches_of_any_size_in_any_order_equal_a_full_sort(k, sizes, seed):
    shown = drawn(sum(sizes), seed)
    order = np.split(np.random.default_rng(seed).permutation(sum(sizes)), np.cumsum(sizes)[:-1])
    assert_is_sorted_fully(state_of(*(part_of(shown, some) for some in order), k=k), shown)


@SMALL
@given(st.integers(1, 12), st.lists(st.integers(0, 5), min_size=1, max_size=6), SEEDS)
def test_shards_merged_in_any_order_equal_a_full_sort(k, sizes, seed):
    random = np.random.default_rng(seed)
    shown = drawn(sum(sizes) + 1, seed)
    order = np.split(random.permutation(sum(sizes) + 1), np.cumsum(sizes))
    states = [state_of(part_of(shown, some), k=k) for some in order]
    while len(states) > 1:  # any two, until one is left
        one, other = (states.pop(random.integers(len(states))) for _ in range(2))
        states.append(one.merge(other))
    assert_is_sorted_fully(states[0], shown)
    assert content(states[0]) == content(state_of(shown, k=k))


@SMALL
@given(st.integers(1, 6), st.tuples(SIZES, SIZES, SIZES), SEEDS)
def test_merging_is_associative_commutative_and_idempotent_even_if_shards_overlap_and_contradict_each_other(
    k, sizes, seed
):
    random = np.random.default_rng(seed)
    a, b, c = (
        state_of((drawn(size, seed + place)[0], random.permutation(8)[:size], random.integers(-1, 2, size)), k=k)
        for place, size in enumerate(sizes)
    )
    assert content(a.merge(b).merge(c)) == content(a.merge(b.merge(c)))
    assert content(a.merge(b)) == content(b.merge(a))
    assert content(a.merge(a)) == content(a)
    assert content(a.merge(b).merge(b)) == content(a.merge(b))
    assert content(a.merge(TopK(MAPS, k))) == content(a)


@SMALL
@given(st.integers(1, 6), SIZES, SIZES, SEEDS)
def test_an_image_that_is_met_twice_is_listed_once(k, first, second, seed):
    shown = drawn(first + second, seed)
    once = state_of(shown, k=k)
    twice = state_of(shown, part_of(shown, slice(first)), part_of(shown, slice(first, None)), k=k)
    overlapping = state_of(part_of(shown, slice(first + 1)), k=k).merge(
        state_of(part_of(shown, slice(first // 2, None)), k=k)
    )
    assert content(once) == content(twice) == content(overlapping)


def test_a_state_takes_no_more_room_than_its_images_however_large_k_is(tmp_path):
    states = [state_of(drawn(3, place, start=100 * place), k=10**9) for place in range(2)]
    states[0].save(tmp_path / "top.npz")
    merged = TopK.load(tmp_path / "top.npz").merge(states[1])
    assert {part.shape for part in merged.rankings["conv"]} == {(5, 6)} and (
        tmp_path / "top.npz"
    ).stat().st_size < 10**4


def test_merging_leaves_both_states_as_they_are():
    one, other = state_of(drawn(5, 1)), state_of(drawn(5, 2, start=100))
    before = content(one), content(other)
    merged = one.merge(other)
    merged.update(*drawn(3, 3, start=200))
    assert (content(one), content(other)) == before


def test_zeros_of_both_signs_are_equal():
    values = np.array([0.0, -0.0, 0.0, -0.0], "float32")
    maps = {"dense": Maps((1,), "float32")}
    state, again = TopK(maps, 3), TopK(maps, 3)
    state.update({"dense": values[:, None]}, [4, 3, 2, 1])
    again.update({"dense": -values[:, None]}, [4, 3, 2, 1])
    assert state.rankings["dense"].ids.tolist() == [[1, 2, 3]] and content(state) == content(again)


def test_what_is_shown_by_hand_is_what_the_scan_finds():
    model = SPECIMENS["overlapping"]()
    pixels, ids = images(model, 12), np.arange(12) * 3
    state = TopK.of(model, [1, LAYERS["overlapping"]], k=4)
    for part in np.split(np.arange(12), [5, 6]):
        state.update(deconv.activations(model, pixels[part], ["conv1", "conv3"]), ids[part])
    by_hand = state.tops(model)
    scanned = deconv.top_activations(model, (pixels, np.full(12, -1), ids), ["conv1", "conv3"], k=4, batch_size=5)
    for layer, tops in scanned.items():
        np.testing.assert_allclose(by_hand[layer].values, tops.values, rtol=1e-5, atol=1e-6)
        for name in ("ids", "labels", "positions", "windows"):
            np.testing.assert_array_equal(getattr(by_hand[layer], name), getattr(tops, name))


def test_an_empty_state_has_nothing_in_it():
    model = SPECIMENS["lenet"]()
    for tops in TopK.of(model, ["conv2", "dense1"]).tops(model).values():
        assert tops.values.shape == tops.ids.shape == (tops.values.shape[0], 0) and tops.windows.shape[1:] == (0, 4)


# ---------------------------------------------------------------------------------------------- what a batch must be


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, i: ({"conv": a["conv"]}, i), r"layer 'dense' must have shape \(4, 6\).* received only \['conv'\]"),
        (
            lambda a, i: (a | {"conv": a["conv"][:, 1:]}, i),
            r"layer 'conv' must have shape \(4, 3, 4, 5\).*\(4, 2, 4, 5\)",
        ),
        (lambda a, i: (a, i[:3]), r"must have shape \(3, 3, 4, 5\), one map for each id; received \(4, 3, 4, 5\)"),
        (lambda a, i: (a, i / 2), "ids .* one whole number for each image; received float64"),
        (lambda a, i: (a, i, i[:2]), r"labels .* received int64 of shape \(2,\) for 4 images"),
        (lambda a, i: (a | {"dense": a["dense"] * np.nan}, i), "'dense' contains NaN or infinity"),
        (lambda a, i: (a | {"conv": a["conv"] + np.inf}, i), "'conv' contains NaN or infinity"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_and_nothing_of_it_is_kept(change, message):
    activations, ids, _ = drawn(4)
    state = state_of(drawn(3, seed=1))
    before = content(state)
    with pytest.raises(ValueError, match=message):
        state.update(*change(activations, ids))
    assert content(state) == before


def test_the_example_of_two_workers_runs_and_gives_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [line[8:] for line in TopK.__doc__.splitlines() if line.startswith(" " * 8)]
    example = "\n".join(lines[: next(number for number, line in enumerate(lines) if line.startswith("tops")) + 1])
    names = {"deconv": deconv, "model": models.LeNet5(weights="mnist"), "preprocess": models.lenet5.preprocess_input}
    exec(example, names)
    whole = deconv.top_activations(names["model"], names["digits"], "conv2", preprocess=names["preprocess"])["conv2"]
    np.testing.assert_array_equal(names["tops"].ids, whole.ids)
    np.testing.assert_allclose(names["tops"].values, whole.values, rtol=1e-5)
    assert (names["state"].complete, names["state"].images) == (True, 1000)


# ---------------------------------------------------------------------------------------------- saved and loaded


SOURCE = Source({"kind": "ImageSet", "numbered": True, "name": "dots", "image shape": [3, 4, 1]}, 5, False)


def test_a_state_comes_back_as_it_was_saved(tmp_path):
    state = state_of(drawn(5), made_by={"model": "own", "architecture": "a1", "input_shape": None}, sources=[SOURCE])
    state.save(tmp_path / "any.name")
    found = TopK.load(tmp_path / "any.name")
    assert content(found) == content(state)
    found.update(*drawn(3, seed=1))
    state.update(*drawn(3, seed=1))
    assert content(found) == content(state)
    assert [path.name for path in tmp_path.iterdir()] == ["any.name"]


def test_the_file_can_be_read_without_this_package(tmp_path):
    state_of(drawn(5), sources=[SOURCE]).save(tmp_path / "state.npz")
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        assert file["0.ids"].shape == (5, 4) and file["1.values"].dtype == "float64"
    assert (about["format"], about["version"], about["k"]) == ("deconvnet top-k", 1, 4) and list(about["maps"]) == [
        *MAPS
    ]


def test_a_write_that_fails_leaves_the_old_state_and_nothing_else(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "state.npz"
    state_of(drawn(5)).save(path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # as if the disk were full
    try:
        with pytest.raises(OSError):
            state_of(drawn(50)).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["state.npz"]


@pytest.mark.slow
def test_whoever_reads_while_another_writes_and_is_killed_finds_a_whole_state(tmp_path):
    code = (
        "import sys, itertools; sys.path[:0] = [sys.argv[1]]\n"
        "from test_topk_state import drawn, state_of\n"
        "states = [state_of(drawn(5, seed)) for seed in range(3)]\n"
        "for state in itertools.cycle(states): state.save(sys.argv[2])"
    )
    path, possible = tmp_path / "state.npz", [content(state_of(drawn(5, seed))) for seed in range(3)]
    writer = subprocess.Popen([sys.executable, "-c", code, str(Path(__file__).parent), str(path)])
    try:
        while not path.exists():
            assert writer.poll() is None
            time.sleep(0.05)
        for _ in range(40):
            assert content(TopK.load(path)) in possible
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    assert content(TopK.load(path)) in possible


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_a_damaged_file_is_refused_by_name_or_its_damage_does_not_matter(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    state = state_of(drawn(5), sources=[SOURCE])
    state.save(path)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:place])
    else:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :])
    try:
        found = TopK.load(path)
    except ValueError as error:
        assert str(error).startswith(f"'{path}' holds no state that can be read")
    else:  # a date, say
        assert content(found) == content(state)


def saved_otherwise(path, **changes):
    """A file as `save` writes it, with changes in what it says or holds."""
    state_of(drawn(5)).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["about"] = np.array(json.dumps(json.loads(str(arrays["about"])) | changes))
    np.savez(path, **arrays)


def test_another_file_is_refused_by_name(tmp_path):
    path = tmp_path / "weights.npz"
    with pytest.raises(FileNotFoundError):
        TopK.load(path)
    writers = {
        "empty": lambda: path.write_bytes(b""),
        "text": lambda: path.write_text("my notes"),
        "weights": lambda: np.savez(path, kernel=np.zeros(3)),
        "a pickle": lambda: np.save(path.open("wb"), np.array([{}]), allow_pickle=True),
        "another format": lambda: saved_otherwise(path, format="something"),
        "another version": lambda: saved_otherwise(path, version=2),
        "other maps": lambda: saved_otherwise(path, maps={"conv": [[3, 4, 6], "float32"], "dense": [[6], "float64"]}),
        "a smaller k": lambda: saved_otherwise(path, k=3),
        "no k": lambda: saved_otherwise(path, k=None),
        "no sources": lambda: saved_otherwise(path, sources=[1]),
    }
    told = {}
    for name, write in writers.items():
        write()
        with pytest.raises(ValueError) as refusal:
            TopK.load(path)
        told[name] = str(refusal.value)
        assert told[name].startswith(f"'{path}' holds no state that can be read: it is damaged, or not a checkpoint (")
        assert told[name].endswith("Give another path, or delete the file to start again.")
    assert "it is 'deconvnet top-k', version 2; expected 'deconvnet top-k', 1" in told["another version"]
    assert "'something'" in told["another format"]
    with pytest.raises(ValueError, match="holds no state that can be read"):
        TopK.load(tmp_path)


# ---------------------------------------------------------------------------------------------- whose it is


def network(name="own", filters=4, activation="relu", seed=0, regularizer=None, trainable=True):
    model = keras.Sequential(name=name)
    model.add(keras.Input((9, 8, 1)))
    model.add(kl.Conv2D(filters, 3, activation=activation, kernel_regularizer=regularizer, name="conv1"))
    model.add(kl.Conv2D(3, 2, trainable=trainable, name="conv2"))
    random = np.random.default_rng(seed)
    model.set_weights([random.standard_normal(weight.shape) for weight in model.get_weights()])
    return model


def scale(pixels):
    return pixels


def refusal(call, *arguments, **named):
    with pytest.raises(ValueError) as raised:
        call(*arguments, **named)
    return str(raised.value)


@pytest.mark.parametrize(
    ("like", "difference"),
    [
        (TopK.of(network(seed=1), ["conv1", "conv2"]), "weights"),
        (TopK.of(network(activation="elu"), ["conv1", "conv2"]), "architecture"),
        (TopK.of(network(filters=5), ["conv1", "conv2"]), "architecture"),
        (TopK.of(network(seed=1), "conv1"), "layers (conv1, conv2 there, conv1 here)"),
        (TopK.of(network(), ["conv2", "conv1"], k=5), "k (9 there, 5 here)"),
        (
            TopK.of(network(), ["conv1", "conv2"], preprocess=scale),
            "preprocess (none there, test_topk_state.scale here)",
        ),
        (
            TopK.of(network(seed=1), ["conv1", "conv2"], 3, preprocess=scale),
            "k (9 there, 3 here); weights; preprocess (none there, test_topk_state.scale here)",
        ),
    ],
)
def test_a_state_of_something_else_is_refused_with_what_differs(tmp_path, like, difference):
    state = TopK.of(network(), ["conv1", "conv2"])
    state.save(tmp_path / "top.npz")
    assert refusal(TopK.load, tmp_path / "top.npz", like) == (
        f"The state in '{tmp_path / 'top.npz'}' does not fit; it differs in {difference}. Give another path, or delete "
        "the file to start again."
    )
    difference = difference.replace(" there", " in one").replace(" here", " in the other")
    assert refusal(state.merge, like) == (
        f"These states cannot be merged; they differ in {difference}. Merge only states of one model, with the same "
        "layers, k and preprocess."
    )


def test_what_has_no_part_in_the_activations_has_none_in_the_fingerprint(tmp_path):
    TopK.of(network(), ["conv1", "conv2"]).save(tmp_path / "top.npz")
    same = [
        network("renamed"),
        network(regularizer="l2"),
        network(trainable=False),
        keras.models.clone_model(network()),
    ]
    same[-1].set_weights(network().get_weights())
    for model in same:
        TopK.load(tmp_path / "top.npz", TopK.of(model, ["conv2", "conv1"]))
    TopK.of(network(), "conv1").save(tmp_path / "lower.npz")
    above = network()
    above.get_layer("conv2").set_weights([2 * weight for weight in above.get_layer("conv2").get_weights()])
    TopK.load(tmp_path / "lower.npz", TopK.of(above, "conv1"))  # weights above the layer have no part in it


def test_a_single_bit_of_a_weight_changes_the_fingerprint():
    model = network()
    before = TopK.of(model, "conv2").made_by
    kernel, *others = model.get_layer("conv1").get_weights()
    kernel.view(np.uint32)[1, 2, 0, 3] ^= 1
    model.get_layer("conv1").set_weights([kernel, *others])
    after = TopK.of(model, "conv2").made_by
    assert after.pop("weights") != before.pop("weights") and after == before


@pytest.mark.slow
def test_every_specimen_has_a_fingerprint_of_its_own_that_is_the_same_when_it_is_built_again():
    found = {name: TopK.of(build(), LAYERS[name]).made_by for name, build in SPECIMENS.items()}
    assert (
        len({made["architecture"] for made in found.values()})
        == len({made["weights"] for made in found.values()})
        == len(SPECIMENS)
    )
    code = (
        "import sys, json; sys.path[:0] = [sys.argv[1]]\n"
        "from specimens import LAYERS, SPECIMENS; from deconv.topk.state import TopK\n"
        "print(json.dumps({name: TopK.of(build(), LAYERS[name]).made_by for name, build in SPECIMENS.items()}))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)], capture_output=True, text=True, check=True
    )
    assert json.loads(other.stdout.splitlines()[-1]) == found


def test_windows_are_those_of_the_model_that_made_the_state():
    state = TopK.of(network(), ["conv1", "conv2"])
    assert refusal(state.tops, network("other", filters=5)) == (
        "This state was computed with model 'own', whose layers up to conv1, conv2 have another architecture than "
        "those of the given model 'other'. Give the model with which the state was computed."
    )


def test_a_state_of_an_open_model_remembers_the_size_of_the_images(tmp_path):
    image = keras.Input((None, None, 1))
    model = keras.Model(image, kl.Conv2D(2, 3, name="conv")(image))
    pixels = np.random.default_rng(0).random((4, 9, 7, 1), dtype="float32")
    arguments = {"checkpoint": tmp_path / "top.npz", "input_shape": (9, 7, 1), "k": 2}
    scanned = deconv.top_activations(model, pixels, "conv", **arguments)["conv"]
    loaded = TopK.load(tmp_path / "top.npz").tops(model)["conv"]
    assert all(np.array_equal(one, other) for one, other in zip(scanned, loaded, strict=True))


def numbered(name, images, complete=False, ids=True):
    return Source({"kind": "arrays", "numbered": ids, "images": name}, images, complete)


def test_what_has_been_seen_of_each_data_set_is_kept_through_a_merge():
    a, b, c = (state_of(sources=[numbered(*source)]) for source in (("x", 5, True), ("x", 3), ("y", 7)))
    merged = a.merge(b).merge(c)
    assert merged.sources == [numbered("x", 5, True), numbered("y", 7)] == c.merge(b.merge(a)).sources
    assert (merged.images, merged.complete, a.complete) == (12, False, True)
    assert (TopK(MAPS).images, TopK(MAPS).complete) == (0, False)


def test_images_without_ids_of_two_data_sets_are_never_taken_for_the_same():
    one, again, other = (state_of(sources=[numbered(name, 5, ids=False)]) for name in ("x", "x", "y"))
    assert one.merge(again).images == 5
    assert re.search("different data sets without ids, .* Scan .*image, label, id", refusal(one.merge, other))


def test_a_state_merges_with_a_state_alone():
    assert refusal(TopK(MAPS).merge, {}) == "A TopK can only be merged with another TopK; received dict."


@pytest.mark.parametrize("k", [0, 2.5, True, None])
def test_k_is_a_whole_number(k):
    with pytest.raises(ValueError, match=f"k must be a whole number of at least 1; received {k}"):
        TopK(MAPS, k)
