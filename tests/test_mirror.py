"""The mirrored network against two derivations that do not know it, and as a keras.Model in its own right."""

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from keras import layers as kl
from specimens import LAYERS, SPECIMENS, fill, images

import deconv
from deconv import graph
from deconv.graph import affine_layers
from models.layers import CeilMaxPooling2D, GroupedConv2D, LocalResponseNormalization


def assert_close(ours, theirs, tolerance):
    """Equal up to `tolerance` of the largest value, which is not zero."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape and np.abs(theirs).max() > 0
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def one_unit(maps, channel):
    """All of `maps` set to zero but the strongest unit of one channel, image by image."""
    kept = np.zeros_like(maps)
    for image, out in zip(maps, kept, strict=True):
        place = np.unravel_index(image[..., channel].argmax(), image.shape[:-1])
        out[(*place, channel)] = image[(*place, channel)]
    return kept


def guided(model):
    """A copy of the model whose relus let a gradient through where it is positive, wherever the maps are."""

    @tf.custom_gradient
    def relu(maps):
        return tf.nn.relu(maps), tf.nn.relu

    def swap(layer):
        if isinstance(layer, keras.Model):
            return guided(layer)
        settings = layer.get_config()
        if isinstance(layer, kl.ReLU):
            return kl.Activation(relu, name=layer.name)
        if "activation" in settings:
            settings["activation"] = relu if settings["activation"] == "relu" else "linear"
        return type(layer).from_config(settings)

    copy = keras.models.clone_model(model, clone_function=swap)
    copy.set_weights(model.get_weights())
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECIMENS)
def test_every_layer_leads_down_to_what_the_slow_deconvnet_finds(name):
    model = SPECIMENS[name]("float64")
    pixels = np.tile(images(model, 2, seed=1), (2, 1, 1, 1))
    outputs = reference.forward(model, pixels)
    paths = [call[0] for call in reference.calls_of(model) if not isinstance(call[1], kl.InputLayer)]
    switches = deconv.Deconvnet(model).record(pixels, paths[-1]).switches
    for path in paths:
        signal = outputs[path].copy()
        signal[2:] = one_unit(signal[2:], channel=1)  # the first two images: whole maps; the others: one unit
        for collisions in ("sum", "last", "max") if path == paths[-1] else ("sum",):
            mirror = deconv.mirror(model, path, collisions=collisions)
            pools = [entry.name.removesuffix("_switches").replace(".", "/") for entry in mirror.inputs[1:]]
            found = mirror([signal, *(switches[pool] for pool in pools)])
            assert found.dtype == "float64"
            assert_close(found, reference.project(model, pixels, path, signal, collisions), 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["lenet", "overlapping", "same", "valid_stride2", "dilated", "grouped", "branching", "nested"]
)
def test_projection_is_the_gradient_with_relus_that_pass_what_is_positive_in_the_signal(name):
    model, path = SPECIMENS[name](seed=3), LAYERS[name].replace("base/conv2", "logits")
    pixels = images(model, 3, seed=2)
    copy = guided(model)
    copy = keras.Model(copy.inputs, copy.get_layer(path).output)
    net = deconv.Deconvnet(model)
    signal = net.record(pixels, path).activations
    for unit, top in {"map": signal, "max": one_unit(signal, 2)}.items():
        with tf.GradientTape() as tape:
            watched = tf.Variable(pixels)
            value = tf.reduce_sum(copy(watched) * top)
        found = net.project(pixels, path, channel=2 if unit == "max" else None, unit=unit)
        assert_close(found, tape.gradient(value, watched), 1e-5)


BOTH = [{"padding": "valid"}, {"padding": "same"}]
GEOMETRIES = {
    "filter": [{"strides": stride, **both} for stride in (1, 2, 3) for both in BOTH]
    + [{"dilation_rate": rate, **both} for rate in (2, (1, 3)) for both in BOTH],
    "pool": [
        {"pool_size": pool, "strides": stride, **both} for pool in (2, (3, 2)) for stride in (1, 2) for both in BOTH
    ]
    + [{"pool_size": 2, "strides": 3, "padding": "same"}],
}
CASES = {
    kl.Conv2D: [{"filters": 6, "kernel_size": (3, 2), **geometry} for geometry in GEOMETRIES["filter"]]
    + [{"filters": 6, "kernel_size": (2, 3), "groups": 2, **geometry} for geometry in GEOMETRIES["filter"][:4]]
    + [{"filters": 3, "kernel_size": (4, 3), "strides": (1, 2), "use_bias": False}],
    kl.DepthwiseConv2D: [{"kernel_size": (3, 2), "depth_multiplier": 2, **geo} for geo in GEOMETRIES["filter"]],
    kl.SeparableConv2D: [
        {"filters": 5, "kernel_size": (3, 2), "depth_multiplier": 2, **geo} for geo in GEOMETRIES["filter"]
    ],
    kl.MaxPooling2D: GEOMETRIES["pool"],
    kl.AveragePooling2D: GEOMETRIES["pool"],
    kl.GlobalMaxPooling2D: [{"keepdims": False}, {"keepdims": True}],
    kl.GlobalAveragePooling2D: [{"keepdims": False}, {"keepdims": True}],
    kl.Dense: [{"units": 5}],
    kl.BatchNormalization: [{}, {"scale": False, "epsilon": 0.1}],
    kl.ReLU: [{}],
    kl.Activation: [{"activation": "linear"}, {"activation": "relu"}],
    kl.Softmax: [{}],
    kl.Flatten: [{}],
    kl.Reshape: [{"target_shape": (7, 9, 4)}, {"target_shape": (-1, 6)}],
    kl.ZeroPadding2D: [{"padding": ((1, 2), (0, 3))}],
    kl.Rescaling: [{"scale": -0.75, "offset": 0.5}, {"scale": [1.0, -2.0, 3.0, 0.5], "offset": 1.0}],
    kl.Concatenate: [{}, {"axis": 1}, {"axis": 2}],
    kl.Add: [{}],
    kl.Average: [{}],
    kl.Dropout: [{"rate": 0.5}],
    kl.SpatialDropout2D: [{"rate": 0.5}],
    kl.GaussianDropout: [{"rate": 0.5}],
    kl.GaussianNoise: [{"stddev": 1.0}],
    kl.Identity: [{}],
    kl.ActivityRegularization: [{"l2": 0.1}],
}
NAMED = {
    GroupedConv2D: [
        {"filters": 6, "kernel_size": (3, 2), "groups": groups, **geo}
        for groups in (1, 2)
        for geo in GEOMETRIES["filter"]
        if groups == 1 or "dilation_rate" not in geo
    ],
    CeilMaxPooling2D: [
        {"pool_size": pool, "strides": strides} for pool in (2, 3, (3, 2)) for strides in (1, 2, (2, 1))
    ],
}
"""Layers of another package that say what they are `mirrored_as`."""
MERGES = (kl.Concatenate, kl.Add, kl.Average)
POOLS = (kl.MaxPooling2D, kl.GlobalMaxPooling2D, CeilMaxPooling2D)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        pytest.param(kind, case, id=f"{kind.__name__}-{case}")
        for kind, cases in (CASES | NAMED).items()
        for case in cases
    ],
)
def test_each_rule_is_the_exact_transpose_of_its_layer(kind, settings):
    image = keras.Input((9, 7, 4), dtype="float64")
    layer = kind(**settings, dtype="float64", name="layer")
    branches = [image, *(kl.Rescaling(factor, dtype="float64")(image) for factor in (2, -5))]
    model = fill(keras.Model(image, layer(branches if kind in MERGES else image)), seed=5)
    pixels, x = images(model, 2, seed=6), images(model, 2, seed=7)
    record = deconv.Deconvnet(model).record(pixels, "layer")
    if kind in POOLS:  # linear once the switches are fixed: read where they point
        (switches,) = record.switches.values()
        up = np.take_along_axis(x.reshape(2, -1, 4), switches.reshape(2, -1, 4), axis=1).reshape(switches.shape)
    elif kind in (kl.ReLU, kl.Softmax) or settings.get("activation") == "relu":
        up = x  # linear once left out
    else:
        up = model(x) - model(np.zeros_like(x))  # what is affine, without its constant
    up = np.asarray(up)
    y = np.random.default_rng(8).standard_normal(up.shape)
    down = np.asarray(deconv.mirror(model, "layer", rectify=False)([y, *record.switches.values()]))
    assert abs(np.vdot(up, y) - np.vdot(x, down)) <= 1e-12 * np.linalg.norm(up) * np.linalg.norm(y)


def test_every_rule_of_the_package_is_tried_above_or_among_the_laws_of_layers():
    others = {*graph.IDLE, *affine_layers.COPIES, *affine_layers.LINEAR, kl.Normalization}
    assert set(CASES) | others == set(deconv.RULES)


def test_mirror_of_one_filter_by_hand():
    # Filter (1, 2, 3), bias 5, over (1, 0, -1, 2): maps (1 - 3 + 5, -2 + 6 + 5) = (3, 9). Down, without the bias:
    # (3*1, 3*2 + 9*1, 3*3 + 9*2, 9*3) = (3, 15, 27, 27). Negative parts of a signal do not pass: (-3, 9) gives 9 alone.
    model = keras.Sequential([keras.Input((1, 4, 1)), kl.Conv2D(1, (1, 3), activation="relu", name="conv")])
    model.set_weights([np.reshape([1.0, 2, 3], (1, 3, 1, 1)), np.array([5.0])])
    net = deconv.Deconvnet(model)
    pixels = np.array([1, 0, -1, 2], "float32").reshape(1, 1, 4, 1)
    assert net.record(pixels, "conv").activations.ravel().tolist() == [3, 9]
    assert net.project(pixels, "conv", unit="map").ravel().tolist() == [3, 15, 27, 27]
    assert np.ravel(net.mirror("conv")([np.reshape([-3.0, 9.0], (1, 1, 2, 1))])).tolist() == [0, 9, 18, 27]


def test_mirror_without_rectification_is_linear_and_with_it_is_not():
    model = SPECIMENS["overlapping"]("float64")
    switches = deconv.Deconvnet(model).record(images(model), "conv3").switches.values()
    one, other = np.random.default_rng(0).standard_normal((2, 3, *model.output_shape[1:]))
    linear, rectified = (deconv.mirror(model, "conv3", rectify=rectify) for rectify in (False, True))
    parts = [np.asarray(linear([signal, *switches])) for signal in (one, other)]
    assert_close(linear([2 * one - other, *switches]), 2 * parts[0] - parts[1], 1e-12)
    np.testing.assert_array_equal(rectified([np.minimum(one, 0), *switches]), np.zeros_like(parts[0]))


@pytest.mark.parametrize("key", [kl.LeakyReLU, "leaky", "base/leaky"])
def test_a_rule_of_the_user_goes_by_type_name_or_path(key):
    inner = keras.Input((6, 5, 2))
    chain = kl.LeakyReLU(name="leaky")(kl.Conv2D(3, 2, name="conv")(inner))
    outer = keras.Input((6, 5, 2))
    nested = key == "base/leaky"
    model = fill(
        keras.Model(outer, keras.Model(inner, chain, name="base")(outer)) if nested else keras.Model(inner, chain), 1
    )
    top, conv = ("base/leaky", "base/conv") if nested else ("leaky", "conv")
    asked = []
    mirror = deconv.mirror(model, top, rules={key: lambda step: asked.append(step.name) or [kl.Rescaling(10.0)]})
    signal = np.random.default_rng(0).standard_normal((2, 5, 4, 3)).astype("float32")
    assert_close(mirror([signal]), deconv.mirror(model, conv)([10 * signal]), 1e-6)
    assert asked == [top]


def test_a_rule_of_the_user_overrides_that_of_the_package():
    model = SPECIMENS["padded"]()
    net = deconv.Deconvnet(model, rules={kl.ReLU: deconv.identity, "relu2": deconv.identity})
    assert not [layer for layer in net.mirror("conv2").layers if layer.name.startswith("relu")]
    signal = -np.abs(net.record(images(model), "relu2").activations) - 1
    pools = list(net.record(images(model), "relu2").switches.values())
    assert np.abs(net.mirror("relu2")([signal, *pools])).max() > 0  # what is negative passes now


def test_a_subclass_may_compute_something_else_so_it_has_no_rule_of_its_own():
    class Squared(kl.Conv2D):
        def call(self, maps):
            return super().call(maps) ** 2

    image = keras.Input((6, 5, 2))
    with pytest.raises(ValueError, match=r"'odd' is a Squared.*rules=\{'odd': rule\}"):
        deconv.mirror(keras.Model(image, Squared(3, 2, name="odd")(image)), "odd")


class Faded(kl.Layer):
    """A layer of a user's own, which divides by what is around in the channels and learns how far."""

    mirrored_as = kl.Identity

    def build(self, input_shape):
        self.gamma = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="gamma")

    def call(self, maps):
        return maps * self.gamma / (1 + keras.ops.mean(keras.ops.square(maps), axis=-1, keepdims=True))


def faded(layer, outer=(9, 8, 3)):
    """A filter, the given layer, a pool and a filter."""
    image = keras.Input(outer)
    maps = layer(kl.Conv2D(4, 3, activation="relu", name="conv1")(image))
    maps = kl.MaxPooling2D(3, 2, name="pool")(maps)
    return fill(keras.Model(image, kl.Conv2D(5, 2, activation="relu", name="conv2")(maps)), seed=3)


@pytest.mark.parametrize("layer", [Faded, LocalResponseNormalization])
def test_a_layer_that_says_it_is_mirrored_as_the_identity_leads_down_what_comes(layer):
    model = faded(layer(name="own"))
    net, pixels = deconv.Deconvnet(model), images(model, 2)
    pools = net.record(pixels, "conv2").switches
    assert [name for name in (mirror_layer.name for mirror_layer in net.mirror("conv2").layers) if "own" in name] == []
    signal = net.record(pixels, "conv2").activations
    found = np.asarray(net.mirror("conv2")([signal, pools["pool"]]))
    layers = {name: model.get_layer(name) for name in ("conv1", "conv2")}
    below = reference.transpose_conv(reference.rectify(signal), layers["conv2"].kernel.numpy(), (3, 2, 4))
    below = reference.unpool(below, pools["pool"], (7, 6, 4))
    expected = reference.transpose_conv(reference.rectify(below), layers["conv1"].kernel.numpy(), (9, 8, 3))
    assert_close(found, expected, 1e-6)
    own = np.random.default_rng(0).standard_normal((2, 7, 6, 4)).astype("float32")  # from the layer itself, too
    assert_close(net.mirror("own")([own]), net.mirror("conv1")([own]), 1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("parent", [GroupedConv2D, LocalResponseNormalization, CeilMaxPooling2D, Faded])
def test_a_subclass_does_not_inherit_what_its_parent_is_mirrored_as(parent):
    settings = {GroupedConv2D: {"filters": 4, "kernel_size": 3}}.get(parent, {})
    model = faded(type("Odd", (parent,), {})(name="odd", **settings), outer=(17, 15, 3))
    with pytest.raises(ValueError, match=r"^Layer 'odd' is a Odd, .*rules=\{'odd': rule\}"):
        deconv.mirror(model, "conv2")
    own = type("Even", (parent,), {"mirrored_as": parent.mirrored_as})  # its own word counts
    model = faded(own(name="even", **settings), outer=(17, 15, 3))
    assert np.abs(deconv.Deconvnet(model).project(images(model, 2), "conv2")).max() > 0


def test_a_rule_of_the_user_for_a_keras_layer_goes_for_what_is_mirrored_as_it_unless_it_has_its_own():
    model = faded(LocalResponseNormalization(name="own"))
    signal = np.random.default_rng(0).standard_normal((2, 7, 6, 4)).astype("float32")
    plain = np.asarray(deconv.mirror(model, "own")([signal]))

    def tenfold(step):
        return [kl.Rescaling(10.0)]

    for key in (kl.Identity, LocalResponseNormalization, "own"):
        assert_close(deconv.mirror(model, "own", rules={key: tenfold})([signal]), 10 * plain, 1e-6)
    both = {kl.Identity: tenfold, LocalResponseNormalization: deconv.identity}
    assert_close(deconv.mirror(model, "own", rules=both)([signal]), plain, 1e-7)


def test_a_pool_that_rounds_up_by_hand():
    # Of 1 3 2 / 4 0 5 / 6 7 8, pools of 2x2 with stride 2: windows 1 3 / 4 0, 2 / 5, 6 7 and 8; three are cut off.
    image = keras.Input((3, 3, 1))
    model = keras.Model(image, CeilMaxPooling2D(2, 2, name="pool")(image))
    pixels = np.float32([[1, 3, 2], [4, 0, 5], [6, 7, 8]]).reshape(1, 3, 3, 1)
    net = deconv.Deconvnet(model)
    record = net.record(pixels, "pool")
    assert record.activations.ravel().tolist() == [4, 5, 7, 8]
    assert record.switches["pool"].ravel().tolist() == [3, 5, 7, 8]
    down = net.project(pixels, "pool", unit="map")
    assert down[0, ..., 0].tolist() == [[0, 0, 0], [4, 0, 5], [0, 7, 8]]


@pytest.mark.slow
@pytest.mark.parametrize(("pool", "before"), [("pool1", "norm1"), ("pool2", "conv2")])
def test_pools_that_round_up_are_compared_with_what_goes_in_as_the_slow_twins_do(pool, before):
    model = SPECIMENS["alexnet"]("float64")
    pixels = images(model, 3)
    found = deconv.compare_pooling(model, pixels, pool, [3, 0], shifts=(1, 2), batch_size=2)
    outputs, layer = reference.forward(model, pixels), model.get_layer(pool)
    pooled, switches = reference.max_pool(outputs[before], layer.pool_size, layer.strides, "ceil")
    assert (found.before_layer, found.after_layer) == (before, pool)
    np.testing.assert_array_equal(found.switches, switches[..., [3, 0]])
    assert_close(found.after, pooled[..., [3, 0]], 1e-12)
    for place, channel in enumerate((3, 0)):
        for side, path, maps in (
            (found.before_projection, before, outputs[before]),
            (found.after_projection, pool, pooled),
        ):
            signal = np.where(np.arange(maps.shape[-1]) == channel, maps, 0)
            assert_close(side[:, place], reference.project(model, pixels, path, signal), 1e-10)
    for number, channel in np.ndindex(3, 2):
        squares = outputs[before][number, ..., [3, 0][channel]].ravel() ** 2
        chosen = np.unique(switches[number, ..., [3, 0][channel]])
        assert found.energy_kept[number, channel] == pytest.approx(squares[chosen].sum() / squares.sum())


@pytest.mark.slow
def test_groups_normalisation_and_pools_that_round_up_are_occluded_as_in_the_naive_double_loop():
    trunk = SPECIMENS["alexnet"]("float64")
    model = keras.Model(trunk.inputs[0], kl.Softmax(dtype="float64", name="classes")(trunk.output))
    both = keras.Model(model.inputs[0], [model.output, model.get_layer("pool2").output])
    (image,) = images(model, 1, seed=4)
    tops, lefts, outputs, sums = reference.occlusion(lambda batch: both(batch), image, 9, 7, fill=0.3)
    found = deconv.occlusion_maps(model, image, 1, "pool2", 9, 7, 0.3, channel=2, batch_size=5)
    assert found.tops.tolist() == tops.tolist() == [0, 7, 14, 21, 22]
    assert found.lefts.tolist() == lefts.tolist() == [0, 7, 14, 17]
    assert_close(found.probability, outputs[..., 1], 1e-10)
    assert_close(found.activation, sums[..., 2], 1e-10)
    np.testing.assert_array_equal(found.predicted, outputs.argmax(axis=-1))


def test_a_layer_called_twice_leads_down_through_both_calls():
    image = keras.Input((7, 6, 2), dtype="float64")
    shared = kl.Conv2D(2, 3, padding="same", activation="relu", name="conv", dtype="float64")
    model = fill(keras.Model(image, shared(shared(image))), seed=2)
    signal = np.random.default_rng(0).standard_normal((2, 7, 6, 2))
    kernel = shared.kernel.numpy()
    once = reference.transpose_conv(reference.rectify(signal), kernel, (7, 6, 2), padding="same")
    twice = reference.transpose_conv(reference.rectify(once), kernel, (7, 6, 2), padding="same")
    assert_close(deconv.mirror(model, "conv")([signal]), once, 1e-12)
    assert_close(deconv.mirror(model, "conv:2")([signal]), twice, 1e-12)


def test_a_sum_written_with_plus_and_a_relu_operation_are_mirrored_like_their_layers():
    def build(add, relu):
        image = keras.Input((7, 6, 2), dtype="float64")
        settings = {"padding": "same", "dtype": "float64"}
        maps = relu(kl.Conv2D(3, 3, **settings)(image))
        maps = add(kl.Conv2D(3, 2, **settings)(maps), maps)
        return fill(keras.Model(image, kl.Conv2D(2, 2, activation="relu", name="top", **settings)(maps)), seed=4)

    written = build(lambda a, b: a + b, keras.ops.relu)
    layered = build(lambda a, b: kl.Add(dtype="float64")([a, b]), kl.ReLU(dtype="float64"))
    signal = np.random.default_rng(0).standard_normal((2, 7, 6, 2))
    assert_close(deconv.mirror(written, "top")([signal]), deconv.mirror(layered, "top")([signal]), 1e-12)


def test_the_inputs_of_a_mirror_are_the_signal_and_the_switches_from_the_top_down():
    model = SPECIMENS["nested"]()
    names = [entry.name for entry in deconv.mirror(model, "logits").inputs]
    assert names == ["logits_signal", "base.block.pool_switches", "base.pool1_switches"]
    model_graph = graph.walk(model)
    steps = graph.subgraph(model_graph, graph.find(model_graph, "logits")).steps
    assert [step.name for step in steps if isinstance(step.layer, kl.MaxPooling2D)] == ["base/pool1", "base/block/pool"]
