"""Words, lists of unequal lengths, dicts and None in place of numbers get a ValueError that names the argument."""

import functools
import inspect

import keras
import numpy as np
import pytest
from keras import layers as kl

import deconv
from deconv import attribution, features


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a word may be taken for a file to write


ABSURD = {"a word": "seven", "a ragged list": [[1], [2, 3]], "a dict": {"a": 1}, "None": None}


@functools.cache
def model():
    keras.utils.set_random_seed(0)
    chain = [kl.Conv2D(6, 3, activation="relu", name="conv"), kl.MaxPooling2D(name="pool"), kl.Flatten()]
    top = [kl.Dense(8, activation="relu", name="hidden"), kl.Dense(3, activation="softmax", name="top")]
    return keras.Sequential([keras.Input((8, 7, 2)), *chain, *top])


X = np.random.default_rng(0).uniform(0, 1, (8, 8, 7, 2)).astype("float32")
LABELS = np.arange(8) % 2
PARTS = {"a": np.array([[1, 1, 4, 4]] * 8)}


@functools.cache
def occluded():
    return deconv.occlusion_maps(model(), X[0], 1, size=4, stride=4)


@functools.cache
def net():
    return deconv.Deconvnet(model())


def evolution(**given):
    return deconv.FeatureEvolution(**given).feed(model(), 1)


def method(function):
    return function, {"model": model, "images": X[:2], "target": 1}


CALLS = {
    **{name: method(attribution.METHODS[name]) for name in ("gradient", "smooth_grad", "integrated_gradients", "lrp")},
    "grad_cam_map": method(attribution.grad_cam_map),
    "relevances": method(attribution.relevances),
    "completeness": (attribution.completeness, {"model": model, "images": X[:2], "maps": X[:2], "target": 1}),
    "activations": (deconv.activations, {"model": model, "images": X, "layers": "conv"}),
    "cascade": (
        deconv.cascade,
        {"model": model, "images": X[:2], "layer": "conv", "channels": [0, 1], "positions": [[0, 0]] * 2},
    ),
    "compare_pooling": (deconv.compare_pooling, {"model": model, "images": X[:2], "pool": "pool"}),
    "controls": (deconv.controls, {"model": model, "images": X[:2], "layer": "conv"}),
    "correspondence": (deconv.correspondence, {"model": model, "images": X, "masks": PARTS, "layers": "conv"}),
    "Deconvnet": (deconv.Deconvnet, {"model": model}),
    "project": (lambda **k: net().project(**k), {"images": X[:2], "layer": "conv"}),
    "project_units": (lambda **k: net().project_units(**k), {"images": X[:2], "layer": "conv", "channels": [0, 1]}),
    "embed": (deconv.embed, {"model": model, "dataset": (X, LABELS), "layer": "conv", "method": "pca"}),
    "embed_units": (deconv.embed_units, {"model": model, "dataset": X, "layer": "conv", "method": "pca"}),
    "energy_kept": (deconv.energy_kept, {"before": X, "switches": np.zeros((8, 4, 3, 2), int)}),
    "explore": (deconv.explore, {"model": model, "dataset": X, "out": "site", "layers": ["conv"]}),
    "explain": (deconv.explain, {"model": model, "image": X[0], "target": 1, "methods": ["gradient"]}),
    "feature_maps": (deconv.feature_maps, {"model": model, "images": X[:2], "layers": "conv"}),
    "FeatureEvolution": (evolution, {"dataset": X, "layers": ["conv"]}),
    "health": (deconv.health, {"model": model, "dataset": X}),
    "invariance": (
        deconv.invariance,
        {"model": model, "images": X[:2], "targets": 1, "values": [1], "layers": ["conv"]},
    ),
    "occlusion_maps": (
        deconv.occlusion_maps,
        {"model": model, "image": X[0], "target": 1, "layer": "conv", "size": 4, "stride": 4},
    ),
    "perturbation_curves": (
        deconv.perturbation_curves,
        {"model": model, "image": X[0], "importance": {"a": X[0, ..., 0]}, "target": 1},
    ),
    "pixel_map": (deconv.pixel_map, {"values": np.ones((2, 2)), "maps": occluded, "image_shape": (8, 7)}),
    "probe": (deconv.probe, {"model": model, "dataset": (X, LABELS), "layers": ["conv"], "per_class": 2}),
    "random_masks": (deconv.random_masks, {"masks": PARTS, "image_shape": (8, 7), "count": 2, "images": X}),
    "receptive_windows": (deconv.receptive_windows, {"model": model, "layer": "conv", "positions": [[0, 0]]}),
    "touched_windows": (deconv.touched_windows, {"model": model, "layer": "conv", "rectangles": [[0, 0, 2, 2]]}),
    "select": (deconv.select, {"activations": X, "channel": 1}),
    "separation": (deconv.separation, {"model": model, "dataset": (X, LABELS), "layers": ["conv"]}),
    "to_pixel_space": (deconv.to_pixel_space, {"pictures": X, "preprocess": lambda images: images / 255}),
    "top_activations": (deconv.top_activations, {"model": model, "dataset": X, "layers": ["conv"]}),
    "top_sheet": (deconv.top_sheet, {"model": model, "images": X, "layer": "conv", "channels": [0]}),
    "TopK": (deconv.TopK.of, {"model": model, "layers": ["conv"]}),
    "transfer": (
        deconv.transfer,
        {"model": model, "dataset": (X, LABELS), "layer": "hidden", "per_class": [2], "scratch": False},
    ),
    "transform": (deconv.transform, {"images": X, "kind": "scale", "values": [1]}),
    "verify": (deconv.verify, {"model": model, "layer": "conv", "images": X[:2], "show": False}),
    "collision_rate": (deconv.collision_rate, {"switches": np.zeros((2, 2, 2, 2), int)}),
    "visualize": (features.visualize, {"model": model, "layer": "conv", "channels": [0], "steps": 1}),
    "optimize": (
        features.optimize,
        {"model": model, "objective": features.channel("conv", 0), "parametrization": "pixels", "steps": 1},
    ),
    "dream": (features.dream, {"model": model, "image": X[0], "layers": "conv", "steps": 1, "octaves": 1}),
    "invert": (features.invert, {"model": model, "images": X[:1], "layer": "conv", "steps": 1}),
    "transfer_style": (
        features.transfer_style,
        {"model": model, "content": X[0], "style": X[1], "content_layers": "conv", "style_layers": "conv", "steps": 1},
    ),
    "neuron": (features.neuron, {"layer": "conv", "channel": 0}),
    "channel": (features.channel, {"layer": "conv", "channel": 0}),
    "direction": (features.direction, {"layer": "conv", "vector": np.ones(6)}),
    "class_logit": (features.class_logit, {"target": 0}),
    "diversity": (features.diversity, {"layer": "conv", "copies": 2}),
    "fourier": (features.fourier, {}),
    "pixels": (features.pixels, {}),
    "high_frequency_share": (features.high_frequency_share, {"images": X}),
}

OTHERS = """
    model dataset layer layers preprocess kind interpolation exact progress method methods composite rules collisions
    windowed show options classifiers scaling scratch unseen randomise aligned masks importance pooled response
    objective transforms regularizers parametrization preset before rectify at folder tensorboard patches maps
    checkpoint average_pooling content_layers style_layers pool self start squash return_arrived title
    out about attribution visualize class_names label_names
""".split()  # noqa: SIM905
"""Arguments that are no numbers."""


def cases(name):
    """`(argument, value)` of all that is absurd."""
    taken = {"FeatureEvolution": deconv.FeatureEvolution}.get(name, CALLS[name][0])
    taken = getattr(deconv.Deconvnet, name) if name.startswith("project") else taken
    for argument, parameter in inspect.signature(taken).parameters.items():
        if argument in OTHERS or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        for what, value in ABSURD.items():
            if what == "None" and (parameter.default is None or argument in ("tolerance", "size")):
                continue
            if what == "a ragged list" and argument == "bounds":  # which are a low and a high list
                continue
            yield argument, value


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_number_is_refused_by_the_name_of_the_argument(name):
    if name in ("embed", "embed_units", "probe", "separation", "transfer"):
        pytest.importorskip("sklearn")
    function, given = CALLS[name]
    given = {key: part() if callable(part) and key in ("model", "maps") else part for key, part in given.items()}
    for argument, value in cases(name):
        with pytest.raises(ValueError, match=rf"(?i)\b{argument.rstrip('s')}"):
            function(**{**given, argument: value})


WITHOUT_NUMBERS = """
    identity pass_activation mirror rectify deepdream layer channel_max cluster_tops settling
    max_pool_with_switches unpool
    transpose_conv
""".split()  # noqa: SIM905
"""Functions of layers, of what another one returns, and of tensors, which TensorFlow checks."""


def test_every_public_function_is_tried():
    for module in (deconv, features, attribution):
        functions = {name for name in module.__all__ if inspect.isfunction(getattr(module, name))}
        assert functions <= {*CALLS, *attribution.METHODS, *WITHOUT_NUMBERS}
