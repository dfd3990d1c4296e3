"""Layer-wise relevance propagation through whole networks: conservation, a slow twin, numbers worked out by hand."""

import functools

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from keras import layers as kl
from specimens import LAYERS, SPECIMENS, images

from deconv import graph
from deconv.attribution import rules
from deconv.attribution.lrp_plan import rules_for
from deconv.attribution.relevance_propagation import lrp, relevances


def total(maps):
    return maps.reshape(len(maps), -1).sum(axis=1)


def accounted(found):
    """What the pixels, the biases and nobody have, as a share of the value."""
    return total(found.input) / found.values + sum(found.biases.values()) + sum(found.lost.values())


def gradient(model, layer, pixels):
    """TensorFlow's own gradient of the strongest unit of a layer, which is active, and its value."""
    network, pixels = keras.Model(model.input, model.get_layer(layer).output), tf.constant(pixels)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        strongest = tf.reduce_max(tf.reshape(network(pixels), [len(pixels), -1]), axis=1)
    assert (strongest.numpy() > 0).all()
    return tape.gradient(strongest, pixels).numpy(), strongest.numpy()


def small(*layers, shape=(6, 5, 2), seed=0, name="small"):
    """A Sequential in float64 of seeded weights."""
    model = keras.Sequential([keras.Input(shape, dtype="float64"), *layers], name=name)
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.weights])
    return model


def of(kind, *args, **kwargs):
    return kind(*args, dtype="float64", **kwargs)


# Laws


@pytest.mark.slow
@pytest.mark.parametrize("name", ["overlapping", "grouped", "average"])
def test_lrp_0_is_the_input_times_the_gradient_and_conserves_without_biases(name):
    model = SPECIMENS[name]("float64")
    for weight in model.weights:
        if weight.name == "bias":
            weight.assign(np.zeros(weight.shape))
    pixels = images(model, 3)
    slope, value = gradient(model, LAYERS[name], pixels)
    found = lrp(model, pixels, layer=LAYERS[name], composite="zero", batch_size=2)
    assert found.shape == pixels.shape and found.dtype == np.float64
    np.testing.assert_allclose(found, pixels * slope, rtol=0, atol=1e-10 * np.abs(found).max())
    np.testing.assert_allclose(total(found), value, rtol=1e-6)
    assert np.abs(found).max() > 0


def test_lrp_0_is_the_input_times_the_gradient_with_biases_too_but_does_not_conserve():
    model = SPECIMENS["valid_stride2"]("float64")
    pixels = images(model, 2)
    slope, value = gradient(model, "conv3", pixels)
    found = lrp(model, pixels, layer="conv3", composite=rules.zero())
    np.testing.assert_allclose(found, pixels * slope, rtol=0, atol=1e-10 * np.abs(found).max())
    assert (np.abs(total(found) - value) > 0.01 * value).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "composite"),
    [
        ("branching", "auto"),
        ("nested", "epsilon_alpha2_beta1_flat"),
        ("alexnet", "epsilon_plus_flat"),
        ("padded", "auto"),
        ("global_max", "alpha2_beta1"),
    ],
)
def test_pixels_biases_and_what_is_lost_sum_to_the_value(name, composite):
    model = SPECIMENS[name]("float64")
    pixels = images(model, 3)
    found = relevances(model, pixels, layer=LAYERS[name], composite=composite, batch_size=2)
    np.testing.assert_allclose(accounted(found), 1, rtol=0, atol=1e-9)
    for layer in found.rules:
        share = np.abs(found.biases[layer] + found.lost[layer])
        np.testing.assert_allclose(found.residuals[layer], share, rtol=0, atol=1e-9)
    others = [found.residuals[layer] for layer in found.maps if layer not in found.rules]
    np.testing.assert_allclose(others, np.zeros((len(others), 3)), rtol=0, atol=1e-9)


def test_a_chain_of_layers_is_that_of_the_slow_twin_layer_by_layer():
    layers = [
        of(kl.Conv2D, 4, 3, activation="relu", padding="same", name="conv1"),
        of(kl.MaxPooling2D, 2, name="pool"),
        of(kl.Conv2D, 3, 2, activation="relu", name="conv2"),
        of(kl.Flatten, name="flatten"),
        of(kl.Dense, 6, activation="relu", name="dense1"),
        of(kl.Dense, 4, activation="softmax", name="dense2"),
    ]
    model, low, high = small(*layers), -3.0, 3.0
    pixels = np.random.default_rng(1).uniform(low, high, (2, 6, 5, 2))
    model.layers[4].bias.assign(np.full(6, 2.0))  # so that not all are silent
    found = relevances(model, pixels, [3, 1], bounds=(low, high))
    wanted = {"conv1": "z_box", "conv2": "gamma 0.25", "dense1": "epsilon 0.25 rms", "dense2": "zero"}
    assert found.rules == wanted and list(found.maps) == [layer.name for layer in layers[::-1]]

    outputs = reference.forward(model, pixels)
    sees = [pixels, *(outputs[layer.name] for layer in layers)]
    logits = reference.dense(sees[5], *(weight.numpy() for weight in layers[5].weights))
    for image, target in enumerate([3, 1]):
        relevance = np.where(np.arange(4) == target, logits[image], 0)
        assert found.values[image] == pytest.approx(relevance.sum(), rel=1e-12)
        for place in (5, 4, 3, 2, 1, 0):
            layer, a = layers[place], sees[place][image]
            np.testing.assert_allclose(found.maps[layer.name][image], relevance, rtol=0, atol=1e-9)
            if layer.name == "flatten":
                relevance = relevance.reshape(a.shape)
                continue
            _, down = reference.linear_part(layer, [a[None]], "sum")
            if layer.name == "pool":
                (relevance,) = down(relevance[None])
                relevance = relevance[0]
                continue
            kernel, bias = (weight.numpy() for weight in layer.weights)
            lift, down = reference.dense, reference.transpose_dense
            if "conv" in layer.name:
                settings = {"padding": layer.padding}
                lift = functools.partial(reference.conv2d, **settings)
                down = functools.partial(reference.transpose_conv, input_shape=a.shape, **settings)
            if layer.name == "conv1":
                parts = [(a, kernel), (np.full_like(a, -low), np.maximum(kernel, 0))]
                parts, bias = [*parts, (np.full_like(a, -high), np.minimum(kernel, 0))], 0
            elif layer.name == "conv2":  # its inputs are positive, and what is not above zero has no relevance
                parts, bias = [(a, kernel + 0.25 * np.maximum(kernel, 0))], bias + 0.25 * np.maximum(bias, 0)
            else:
                parts = [(a, kernel)]
            z = sum(lift(maps[None], weights)[0] for maps, weights in parts) + bias
            size = 0.25 * np.sqrt(np.mean(z**2)) if layer.name == "dense1" else 0
            signal = relevance / (z + np.where(z < 0, -size, size))
            below = np.zeros(a.shape)
            for maps, weights in parts:
                below += maps * down(signal[None], weights)[0]
            biases = (signal * bias).sum() / found.values[image]
            assert found.biases[layer.name][image] == pytest.approx(biases, abs=1e-9)
            lost = (relevance.sum() - (signal * z).sum()) / found.values[image]
            assert found.lost[layer.name][image] == pytest.approx(lost, abs=1e-9)
            residual = abs(below.sum() - relevance.sum()) / abs(found.values[image])
            assert found.residuals[layer.name][image] == pytest.approx(residual, abs=1e-9)
            relevance = below
        np.testing.assert_allclose(found.input[image], relevance, rtol=0, atol=1e-9)
        assert np.abs(relevance).max() > 0.01


# Layers, by hand


def test_the_winner_of_a_max_pool_takes_all_and_a_shared_winner_the_sum():
    # 3x3 windows of stride 2 over a row of 5: both see the 4 in the middle; the first wins ties.
    pixels = np.array([1.0, 2, 4, 3, 0]).reshape(1, 1, 5, 1)
    model = small(of(kl.MaxPooling2D, (1, 3), (1, 2), name="pool"), shape=(1, 5, 1))
    assert lrp(model, pixels, unit="map")[0, 0, :, 0].tolist() == [0, 0, 8, 0, 0]
    pixels = np.array([4.0, 2, 1, 5, 5]).reshape(1, 1, 5, 1)
    assert lrp(model, pixels, unit="map")[0, 0, :, 0].tolist() == [4, 0, 0, 5, 0]


@pytest.mark.slow
def test_sums_and_averages_share_out_in_proportion_to_what_comes_in():
    image = keras.Input((1, 2, 2), dtype="float64")
    twice = of(kl.DepthwiseConv2D, 1, use_bias=False, name="twice")(image)
    joined = of(kl.Concatenate, axis=2, name="joined")([keras.ops.relu(image + twice), image])
    mean = of(kl.GlobalAveragePooling2D, name="mean")(joined)
    model = keras.Model(image, of(kl.Average, name="average")([mean, mean]))
    model.set_weights([np.full((1, 1, 2, 1), 2.0)])
    pixels = np.array([1.0, 9, 3, 7]).reshape(1, 1, 2, 2)  # channel 0: 1 and 3
    # Channel 0 of the concatenation: 3, 9 and 1, 3, whose mean is 4: each pixel has a quarter of what it adds.
    found = relevances(model, pixels, 0, composite="zero")
    assert found.values == [4]
    np.testing.assert_allclose(found.maps["joined"][0, 0, :, 0], [0.75, 2.25, 0.25, 0.75], rtol=1e-12)
    np.testing.assert_allclose(found.maps["twice"][0, 0, :, 0], [0.5, 1.5], rtol=1e-12)
    np.testing.assert_allclose(found.input[0, 0], [[1, 0], [3, 0]], rtol=1e-12)
    with_bias = relevances(model, pixels, 0, composite={"mean": rules.flat()})
    np.testing.assert_allclose(with_bias.maps["joined"][0, 0, :, 0], [1, 1, 1, 1], rtol=1e-12)


@pytest.mark.slow
def test_batch_normalisation_after_a_filter_is_merged_into_it_and_elsewhere_lets_pass():
    def built(*head):
        return small(*head, of(kl.ReLU), of(kl.Conv2D, 3, 2, name="conv2"), of(kl.BatchNormalization, name="norm2"))

    model = built(
        of(kl.BatchNormalization, name="norm0"),
        of(kl.Conv2D, 4, 3, use_bias=False),
        of(kl.BatchNormalization, name="norm1"),
    )
    for weight in model.weights:
        if weight.name == "moving_variance":
            weight.assign(np.abs(weight))
    pixels = images(model, 3)
    values = {name: model.get_layer(name).get_weights() for name in ("norm0", "norm1", "norm2")}
    merged = keras.Sequential([keras.Input((6, 5, 2), dtype="float64")])
    scale = {name: gamma / np.sqrt(variance + 1e-3) for name, (gamma, _, _, variance) in values.items()}
    for layer, norm in ((model.layers[1], "norm1"), (model.layers[4], "norm2")):
        kernel, bias = layer.get_weights() if layer.use_bias else (layer.get_weights()[0], 0.0)
        _, beta, mean, _ = values[norm]
        merged.add(of(kl.Conv2D, kernel.shape[-1], kernel.shape[0], activation="relu" if norm == "norm1" else None))
        merged.layers[-1].set_weights([kernel * scale[norm], (bias - mean) * scale[norm] + beta])
    _, beta, mean, _ = values["norm0"]
    lifted = (pixels - mean) * scale["norm0"] + beta
    bounds = (pixels.min(), pixels.max())
    ends = [(bound - mean) * scale["norm0"] + beta for bound in bounds]
    expected = relevances(merged, lifted, 1, bounds=(np.minimum(*ends), np.maximum(*ends)))
    found = relevances(model, pixels, 1, bounds=bounds)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-10)
    np.testing.assert_allclose(found.input, expected.input, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.biases["conv2"], expected.biases[merged.layers[1].name], rtol=1e-9)
    assert not found.residuals["norm2"].any() and np.abs(found.input).max() > 0


def test_a_separable_convolution_is_a_depthwise_one_and_one_of_1x1():
    one = small(of(kl.SeparableConv2D, 3, 2, padding="same", depth_multiplier=2, name="separable"))
    depthwise = of(kl.DepthwiseConv2D, 2, padding="same", depth_multiplier=2, use_bias=False)
    two = small(depthwise, of(kl.Conv2D, 3, 1, name="pointwise"))
    two.set_weights(one.get_weights())
    pixels = images(one, 2)
    found = lrp(one, pixels, 1, composite=rules.gamma(0.3))
    np.testing.assert_allclose(found, lrp(two, pixels, 1, composite=rules.gamma(0.3)), rtol=0, atol=1e-9)
    found = lrp(one, pixels, 1, composite={"separable": rules.z_box()})  # the pointwise part, which no pixel feeds
    np.testing.assert_allclose(found, lrp(two, pixels, 1, composite={"pointwise": rules.zero()}), rtol=0, atol=1e-9)


def test_borders_that_a_layer_adds_get_nothing():
    padded = small(of(kl.ZeroPadding2D, ((1, 1), (1, 1))), of(kl.Dropout, 0.5), of(kl.Conv2D, 3, 3, name="conv"))
    inside = small(of(kl.Conv2D, 3, 3, padding="same", name="conv"))
    inside.set_weights(padded.get_weights())
    pixels = images(padded, 2)
    for rule in (rules.flat(), rules.z_box()):
        found, expected = (lrp(model, pixels, 1, unit="map", composite=rule) for model in (padded, inside))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_bounds_of_the_pixels_reach_the_filter_through_what_is_before_it():
    scaled = small(of(kl.Rescaling, -2.0, offset=1.0), of(kl.Conv2D, 3, 2, name="conv"))
    plain = small(of(kl.Conv2D, 3, 2, name="conv"))
    plain.set_weights(scaled.get_weights())
    pixels = np.random.default_rng(0).uniform(0, 1, (2, 6, 5, 2))
    found = lrp(scaled, pixels, 2, bounds=(0, 1))
    np.testing.assert_allclose(found, lrp(plain, 1 - 2 * pixels, 2, bounds=(-1, 1)), rtol=0, atol=1e-9)


def test_a_layer_called_twice_shares_out_at_each_call():
    def built(shared):
        image = keras.Input((5, 4, 2), dtype="float64")
        convs = [
            of(kl.Conv2D, 2, 3, padding="same", activation="relu", name=f"conv{n}") for n in range(1 if shared else 2)
        ]
        maps = of(kl.Add, name="add")([convs[-1](convs[0](image)), image])
        return keras.Model(image, of(kl.Dense, 3, activation="softmax", name="top")(of(kl.Flatten)(maps)))

    shared, apart = built(True), built(False)
    rng = np.random.default_rng(0)
    kernel, bias, *top = (rng.normal(size=weight.shape) for weight in shared.weights)
    shared.set_weights([kernel, bias, *top])
    apart.set_weights([kernel, bias, kernel, bias, *top])
    pixels = images(shared, 2)
    found, expected = (relevances(model, pixels, 2) for model in (shared, apart))
    np.testing.assert_allclose(found.input, expected.input, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.maps["conv0:2"], expected.maps["conv1"], rtol=0, atol=1e-9)


# What a caller chooses


def test_the_automatic_composite_goes_by_thirds_with_the_odd_ones_at_the_top():
    def rules_of(count):
        dense = [of(kl.Dense, 3, activation="relu", name=f"dense{n}") for n in range(count)]
        model_graph = graph.walk(small(of(kl.Conv2D, 2, 2, name="conv"), of(kl.Flatten), *dense))
        return [str(rule) for rule in rules_for(model_graph, model_graph, "auto").values()]

    assert rules_of(1) == ["z_box", "zero"]
    assert rules_of(4) == ["z_box", "gamma 0.25", "epsilon 0.25 rms", "zero", "zero"]


def test_named_composites_treat_filters_by_their_kind():
    maps = [of(kl.Conv2D, 2, 2, activation="relu", name=f"conv{number}") for number in range(2)]
    model = small(*maps, of(kl.Flatten), of(kl.Dense, 3, name="dense"))
    model_graph = graph.walk(model)
    expected = {
        "epsilon_plus": ["alpha 1 beta 0", "alpha 1 beta 0", "epsilon 1e-06"],
        "epsilon_plus_flat": ["flat", "alpha 1 beta 0", "epsilon 1e-06"],
        "epsilon_alpha2_beta1_flat": ["flat", "alpha 2 beta 1", "epsilon 1e-06"],
        "alpha2_beta1": ["alpha 2 beta 1"] * 3,
    }
    for name, names in expected.items():
        assert [str(rule) for rule in rules_for(model_graph, model_graph, name).values()] == names


@pytest.mark.slow
def test_under_the_names_of_kohlbrenner_nearly_all_of_the_value_arrives_and_lrp_says_so():
    model = SPECIMENS["sequential"]("float64")
    for weight in model.weights:
        if weight.name == "bias":
            weight.assign(np.zeros(weight.shape))
    pixels = images(model, 3)
    maps, arrived = lrp(model, pixels, composite="epsilon_plus", return_arrived=True)
    found = relevances(model, pixels, composite="epsilon_plus")
    np.testing.assert_allclose(arrived, total(maps) / found.values, rtol=1e-12)
    np.testing.assert_array_equal(arrived, found.arrived)
    np.testing.assert_allclose(arrived, 1, rtol=0, atol=1e-4)
    _, kept = lrp(model, pixels, composite="epsilon", return_arrived=True)
    assert (np.abs(kept - 1) > 0.05).all()  # Montavon's epsilon keeps what it is meant to keep
    silent = lrp(model, 0 * pixels, 1, composite="epsilon_plus", return_arrived=True)[1]
    assert np.isnan(silent).all()


@pytest.mark.slow
def test_epsilon_plus_is_what_zennits_rules_make_of_the_same_network_in_torch():
    torch = pytest.importorskip("torch")
    model = SPECIMENS["lenet"]("float64")
    pixels = images(model, 2)
    weights = [torch.from_numpy(weight) for weight in model.get_weights()]
    kernels, biases = weights[::2], weights[1::2]
    first, second = (kernel.permute(3, 2, 0, 1) for kernel in kernels[:2])
    conv, dense = torch.nn.functional.conv2d, torch.nn.functional.linear

    def led_down(function, inputs, relevance):
        """Inputs times the gradient of what they make, with the stabilised relevance above it (`BasicHook`)."""
        inputs = [one.detach().requires_grad_() for one in inputs]
        outputs = function(*inputs)
        stable = outputs + 1e-6 * torch.where(outputs < 0, -1.0, 1.0)
        slopes = torch.autograd.grad(outputs, inputs, relevance / stable)
        return sum(one.detach() * slope for one, slope in zip(inputs, slopes, strict=True))

    def z_plus(maps, kernel, bias, relevance, padding):
        def function(over, under):
            above = conv(over, kernel.clamp(min=0), bias.clamp(min=0), padding=padding)
            return above + conv(under, kernel.clamp(max=0), padding=padding)

        return led_down(function, [maps.clamp(min=0), maps.clamp(max=0)], relevance)

    def unpooled(maps, relevance):
        maps = maps.detach().requires_grad_()
        return torch.autograd.grad(torch.nn.functional.max_pool2d(maps, 2), maps, relevance)[0]

    image = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    one = conv(image, first, biases[0], padding=2).relu()
    pooled = torch.nn.functional.max_pool2d(one, 2)
    two = conv(pooled, second, biases[1]).relu()
    vectors = [torch.nn.functional.max_pool2d(two, 2).permute(0, 2, 3, 1).flatten(1)]
    for kernel, bias in zip(kernels[2:4], biases[2:4], strict=True):
        vectors.append(dense(vectors[-1], kernel.T, bias).relu())
    scores = dense(vectors[-1], kernels[4].T, biases[4])
    relevance = torch.zeros_like(scores)
    relevance[:, 3] = scores[:, 3]
    for vector, kernel, bias in zip(vectors[::-1], kernels[:1:-1], biases[:1:-1], strict=True):
        relevance = led_down(lambda x, k=kernel, b=bias: dense(x, k.T, b), [vector], relevance)
    relevance = unpooled(two, relevance.reshape(len(pixels), 5, 5, 16).permute(0, 3, 1, 2))
    relevance = unpooled(one, z_plus(pooled, second, biases[1], relevance, 0))
    expected = z_plus(image, first, biases[0], relevance, 2).permute(0, 2, 3, 1).numpy()
    found = lrp(model, pixels, 3, composite="epsilon_plus")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_a_picture_depends_neither_on_the_batch_nor_on_the_other_images():
    model = SPECIMENS["sequential"]("float64")
    pixels = images(model, 5)
    together = lrp(model, pixels, batch_size=2)
    bounds = (pixels[3].min(), pixels[3].max())  # which are its own
    np.testing.assert_allclose(lrp(model, pixels[3:4], bounds=bounds), together[3:4], rtol=0, atol=1e-10)


def test_a_hidden_unit_has_relevance_in_its_window_only_and_its_value_in_all():
    model = SPECIMENS["overlapping"]("float64")
    pixels = images(model, 2)
    conv = keras.Model(model.input, model.get_layer("conv2").output)
    found = relevances(model, pixels, 3, "conv2", unit=(0, 1), composite="gamma")
    positive = np.maximum(found.values, 0)  # it is taken before its activation
    np.testing.assert_allclose(conv(pixels).numpy()[:, 0, 1, 3], positive, rtol=1e-10, atol=1e-12)
    inside = np.zeros(pixels.shape, bool)
    inside[:, 0:9, 2:11] = (
        True  # conv2 sees 3x3 pooled cells of 3x3 at every 2nd, of conv1's 3x3: 9 by 9, from column 2
    )
    assert not found.input[~inside].any() and found.input[inside].any()


def test_half_precision_is_shared_out_in_single_precision():
    single, half = SPECIMENS["sequential"]("float32"), SPECIMENS["sequential"]("float16")
    pixels = images(half, 2)
    found = lrp(half, pixels, 3, composite="epsilon")
    assert found.dtype == np.float32
    expected = lrp(single, pixels.astype("float32"), 3, composite="epsilon")
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.02 * np.abs(expected).max())


def test_what_is_kept_for_the_next_call_follows_the_weights_and_not_the_constants_of_another_rule():
    def built():
        return small(of(kl.Conv2D, 3, 2, activation="relu", name="conv"), of(kl.Conv2D, 2, 2, name="top"))

    model, again = built(), built()
    pixels = images(model, 2)
    first = lrp(model, pixels, 1, composite=rules.gamma(0.5))
    other = lrp(model, pixels, 1, composite=rules.gamma(0.6))
    assert np.abs(first - other).max() > 1e-3 * np.abs(first).max()
    for one in (model, again):
        one.set_weights([-0.5 * weight[::-1] for weight in one.get_weights()])
    found, expected = (lrp(one, pixels, 1, composite=rules.gamma(0.5)) for one in (model, again))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert np.abs(found - first).max() > 1e-3 * np.abs(first).max()


# Refusals


def between(layer):
    """A `Graph` of a convolution, a layer and another convolution."""
    return graph.walk(small(of(kl.Conv2D, 2, 2, name="conv"), layer, of(kl.Conv2D, 2, 2, name="top")))


def test_a_layer_without_a_rule_is_refused_by_name_with_the_way_out():
    model_graph = between(of(kl.UpSampling2D, interpolation="bilinear", name="larger"))
    refusal = r"'larger' \(UpSampling2D\) has no LRP rule.*composite=\{'larger': .*passes\(\)\}"
    with pytest.raises(ValueError, match=refusal):
        rules_for(model_graph, model_graph, "auto")
    with pytest.raises(ValueError, match="'passes' requires one input, of the shape of the output"):
        rules_for(model_graph, model_graph, {"larger": rules.passes()})


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda a: kl.Conv1D(3, 3, padding="same", activation=a, name="filter"), (7, 3)),
        (lambda a: kl.Conv3D(3, 2, activation=a, name="filter"), (4, 3, 5, 2)),
        (lambda a: kl.Conv2DTranspose(3, 3, padding="same", activation=a, name="filter"), (6, 5, 3)),
        (lambda a: kl.EinsumDense("abcd,de->abce", (6, 5, 3), activation=a, name="filter"), (6, 5, 3)),
    ],
)
def test_a_filter_without_a_rule_is_refused_whatever_its_activation_keeps(layer, shape, activation):
    model = keras.Sequential([keras.Input(shape), layer(activation), kl.Flatten(), kl.Dense(2)])
    with pytest.raises(ValueError, match=r"'filter' \(.*has no LRP rule"):
        lrp(model, np.ones((1, *shape), "float32"), 0)


def test_relevance_passes_a_layer_of_which_the_caller_says_so():
    layers = [of(kl.Conv2D, 2, 2, name="conv"), of(kl.UnitNormalization, name="unit"), of(kl.Conv2D, 2, 2, name="top")]
    model = small(*layers)
    found = relevances(model, images(model), 1, composite={kl.UnitNormalization: rules.passes()})
    np.testing.assert_array_equal(found.maps["unit"], found.maps["conv"])
    np.testing.assert_allclose(accounted(found), 1, rtol=0, atol=1e-9)


def test_an_activation_that_is_not_zero_at_zero_is_refused_unless_the_unit_is_taken_before_it():
    model_graph = between(of(kl.Activation, "sigmoid", name="squashed"))
    with pytest.raises(
        ValueError, match=r"'squashed'.* has the activation function 'sigmoid', which relevance cannot pass"
    ):
        rules_for(model_graph, model_graph, "auto")
    cut = graph.subgraph(model_graph, graph.find(model_graph, "squashed"))
    assert [str(rule) for rule in rules_for(cut, model_graph, "auto").values()] == ["z_box"]


@pytest.mark.parametrize(
    ("composite", "message"),
    [
        ("best", "composite must be one of auto, zero,.* received 'best'"),
        (["zero"], "composite must be one of"),
        ({"conv9": rules.zero()}, "has no layer 'conv9'. Did you mean 'conv2'?"),
        ({"conv1": "zero"}, "composite must have names or types of layers as keys, and rules .* 'conv1': 'zero'"),
        ({"conv2": rules.z_box()}, "requires a layer of pixels, whose bounds are known, which 'conv2' is not"),
        ({"pool1": rules.zero()}, "'pool1' .* computes no sums of contributions, so rule 'zero' does not apply to it"),
    ],
)
def test_composites_that_do_not_fit_are_refused(composite, message):
    model_graph = graph.walk(SPECIMENS["lenet"]())
    with pytest.raises(ValueError, match=message):
        rules_for(model_graph, model_graph, composite)


def test_bounds_that_are_none_are_refused():
    model = small(of(kl.Conv2D, 2, 2, name="conv"))
    for bounds in ((1, 0), 3, (0, 1, 2), (0, np.nan), ([0, 1, 2], 5), ("a", 1)):
        with pytest.raises(ValueError, match=r"bounds must be \(low, high\)"):
            lrp(model, images(model), bounds=bounds)
