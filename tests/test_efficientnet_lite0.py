"""EfficientNet-Lite0: what is computed, which weights fit, and that the deconvnet takes it."""

import keras
import networks
import numpy as np
import pytest
import reference
from specimens import fill

import deconv
import models
from models import convert, efficientnet_lite0
from models.efficientnet_lite0 import BLOCKS
from models.loading import weight_files


@pytest.fixture(scope="module")
def small():
    """For images of 64 x 64, with random weights; statistics are those of a batch, so that images are told apart."""
    model = fill(models.EfficientNetLite0(input_shape=(64, 64, 3), classes=7), seed=1)
    normalisations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in normalisations:
        layer.momentum = 0.0
    model(noise(16, 64, 64, 3, seed=2), training=True)
    for layer in normalisations:
        layer.momentum = 0.99
    return model


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


# ------------------------------------------------------------------------------------------------- architecture


@pytest.mark.slow
def test_the_network_is_what_its_table_says():
    model = models.EfficientNetLite0()
    table = {row["layers"]: row for row in networks.table_of(models.EfficientNetLite0)}
    for name, row in table.items():
        prefix = name.partition("-")[0].rstrip("ab") if name.startswith("block") else f"{name}_"
        others = [layer for layer in model.layers if layer.name.startswith(prefix) and layer.name != "top_dropout"]
        parts = [layer for layer in model.layers if layer.name == name] or others
        count = sum(int(np.prod(weight.shape)) for layer in parts for weight in layer.trainable_weights)
        assert row["output"] == ", ".join(str(side) for side in parts[-1].output.shape[1:]), name
        assert row["parameters"] == (f"{count:,}" if count else ""), name
    count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert count == 4_652_008 and f"{count:,} trained parameters" in models.EfficientNetLite0.__doc__


def batch_normalize(maps, weights):
    return reference.batch_normalize(maps, *weights, 1e-3)


def rectify6(maps):
    return np.clip(maps, 0, 6)


@pytest.mark.parametrize("name", ["2a", "3b"])
def test_a_block_computes_what_its_paper_writes(small, name):
    block, weights, prefix = next(block for block in BLOCKS if block.name == name), networks.weights_of(small), name
    names = [layer.name for layer in small.layers]
    first = small.layers[names.index(f"block{name}_expand_conv")]
    last = small.get_layer(f"block{name}_{'add' if f'block{name}_add' in names else 'project_bn'}")
    images = noise(2, *first.input.shape[1:], seed=3)
    x = images.astype(np.float64)
    for part in ("expand_conv", "dwconv", "project_conv"):
        convolve = reference.depthwise_conv2d if part == "dwconv" else reference.conv2d
        strides = (block.stride, block.stride) if part == "dwconv" else (1, 1)
        x = convolve(x, *weights[f"block{prefix}_{part}"], strides=strides, padding="same")
        x = batch_normalize(
            x, weights[f"block{prefix}_{part.replace('dwconv', 'conv').replace('_conv', '_bn').replace('conv', 'bn')}"]
        )
        x = x if part == "project_conv" else rectify6(x)
    expected = x + images if block.stride == 1 else x
    assert (block.stride == 1) == last.name.endswith("_add") and expected.std() > 0.1
    found = keras.Model(first.input, last.output).predict(images, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


# ---------------------------------------------------------------------------------------------- published weights


def published_state(torch, model):
    """The weights of a model by the names and in the layout of the published file."""
    arrays = {
        f"{layer.name}/{weight.name}": keras.ops.convert_to_numpy(weight)
        for layer in model.layers
        for weight in layer.weights
    }
    names = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    table, state = convert.NETWORKS["efficientnet_lite0"], {}
    for ours, (theirs, _) in table.kernels.items():
        kernel = arrays.get(f"{ours}/kernel")
        state[f"{theirs}.weight"] = kernel.T if kernel.ndim == 2 else kernel.transpose(3, 2, 0, 1)
        if ours in table.depthwise:
            state[f"{theirs}.weight"] = kernel.transpose(2, 3, 0, 1)
    state["_fc.bias"] = arrays["predictions/bias"]
    for ours, (theirs, _) in table.normalisations.items():
        state |= {f"{theirs}.{name}": arrays[f"{ours}/{key}"] for key, name in names.items()}
    return {name: torch.from_numpy(np.array(array)) for name, array in state.items()}


def twin(torch, state, x):
    """The forward pass of `efficientnet_lite_pytorch`, written out."""
    functional = torch.nn.functional

    def convolution(x, name, stride=1, groups=1):
        kernel = state[f"{name}.weight"]
        around = []  # TensorFlow's "same", from the last axis
        for length, size in ((x.shape[3], kernel.shape[3]), (x.shape[2], kernel.shape[2])):
            total = max((-(-length // stride) - 1) * stride + size - length, 0)
            around += [total // 2, total - total // 2]
        return functional.conv2d(functional.pad(x, around), kernel, stride=stride, groups=groups)

    def normalised(x, name):
        parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, *parts, eps=1e-3)

    x = functional.relu6(normalised(convolution(x, "_conv_stem", 2), "_bn0"))
    for number, block in enumerate(BLOCKS):
        entry, name = x, f"_blocks.{number}"
        if block.expansion > 1:
            x = functional.relu6(normalised(convolution(x, f"{name}._expand_conv"), f"{name}._bn0"))
        x = convolution(x, f"{name}._depthwise_conv", block.stride, groups=x.shape[1])
        x = functional.relu6(normalised(x, f"{name}._bn1"))
        x = normalised(convolution(x, f"{name}._project_conv"), f"{name}._bn2")
        x = x + entry if x.shape == entry.shape else x
    x = functional.relu6(normalised(convolution(x, "_conv_head"), "_bn1")).mean((2, 3))
    return functional.softmax(functional.linear(x, state["_fc.weight"], state["_fc.bias"]), dim=1)


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
def test_a_converted_file_gives_what_its_torch_twin_gives(small, tmp_path, zipped):
    torch = pytest.importorskip("torch", reason="needs torch: pip install torch")
    state = published_state(torch, small)
    state["_bn0.num_batches_tracked"] = torch.tensor(3)
    torch.save(state, tmp_path / "file.pth", _use_new_zipfile_serialization=zipped)
    converted = convert.convert(tmp_path / "file.pth")
    assert converted.network == "efficientnet_lite0"
    convert.save(converted, tmp_path / "file.npz")
    model = models.EfficientNetLite0(weights=tmp_path / "file.npz", input_shape=(64, 64, 3))
    assert model.output.shape[-1] == 7
    images = noise(3, 64, 64, 3)
    with torch.inference_mode():
        expected = twin(torch, state, torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    assert expected.std(axis=0).max() > 1e-2  # images are told apart
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)


@pytest.mark.slow
def test_the_layers_of_the_published_file_are_those_of_the_network():
    model, table = models.EfficientNetLite0(), convert.NETWORKS["efficientnet_lite0"]
    assert {*table.kernels, *table.normalisations} == {layer.name for layer in model.layers if layer.weights}
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert layer.gamma.shape == table.normalisations[layer.name][1:] and layer.epsilon == 1e-3
        elif layer.weights:
            shape = table.kernels[layer.name][1]
            shape = tuple(1000 if size == "classes" else size for size in shape)
            order = (2, 3, 0, 1) if layer.name in table.depthwise else (2, 3, 1, 0) if len(shape) == 4 else (1, 0)
            assert tuple(layer.kernel.shape) == tuple(shape[axis] for axis in order), layer.name


@pytest.mark.slow
def test_weights_are_saved_and_loaded_with_their_statistics_and_without_the_classifier(small, tmp_path):
    weight_files.save(small, tmp_path / "file.npz", dtype="float32")
    again = models.EfficientNetLite0(weights=tmp_path / "file.npz", input_shape=(64, 64, 3))
    for ours, theirs in zip(small.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    open_ended = models.EfficientNetLite0(tmp_path / "file.npz", input_shape=(96, 64, 3), include_top=False)
    assert open_ended.output.shape == (None, 3, 2, 1280)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (31, 64, 3)}, "at least 32, received"),
        ({"classes": 0}, "`classes` must be a positive whole number, received 0"),
        ({"dropout": 1}, r"`dropout` must be a number in \[0, 1\), received 1"),
        ({"weights": "imagenette"}, "no weights 'imagenette'. Did you mean 'imagenet'"),
        ({"weights": "imagenet", "classes": 10}, "are for 1000 classes, received classes=10"),
        ({"weights": "imagenet", "input_shape": (64, 64, 1)}, "are for images of 3 channels"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=f"^EfficientNetLite0.*{message}"):
        models.EfficientNetLite0(**arguments)


# -------------------------------------------------------------------------------------------------- preprocessing


def test_preprocessing_is_the_published_one_and_has_an_exact_inverse():
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    inputs = efficientnet_lite0.preprocess_input(pixels)
    assert inputs.dtype == np.float32 and inputs.min() == -127 / 128 and inputs.max() == 1
    np.testing.assert_array_equal(efficientnet_lite0.to_pixels(inputs), pixels)
    ((first, *_),) = efficientnet_lite0.decode_predictions(np.eye(1000)[[1]])
    assert first == ("n01443537", "goldfish", 1.0)


# ------------------------------------------------------------------------------------------------------ deconvnet


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["top_activation", "block4c_add"])
def test_the_mirror_of_the_network_is_exact(small, layer):
    found = deconv.verify(small, layer, show=False)
    assert found.adjoint_residual < 1e-5 and found.gradient_difference < 1e-4


@pytest.mark.slow
def test_a_unit_is_projected(small):
    projection = deconv.Deconvnet(small).project(noise(1, 64, 64, 3), "block2b_add", channel=3)
    assert projection.shape == (1, 64, 64, 3) and np.abs(np.asarray(projection)).max() > 0
