"""Training on photographs: optimizer, recipes, sizes of crops, accuracies, and the script from pictures to weights."""

import importlib.util
import json
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image
from test_training import ROOT, interrupted, run_and_look_for_tensorflow, same_weights, signalled, trained
from typer.testing import CliRunner

import models
from deconv import datasets
from models import training
from models.training import recipes
from models.training.crops import centre_crops
from models.training.evaluation import accuracies
from models.training.optimizers import CaffeSGD
from models.training.photographs import SIDES, Plan, check_growth, filled, network

SCRIPT = ROOT / "scripts" / "train_alexnet.py"
PAPER = {"learning_rate": 0.01, "weight_decay": 5e-4, "steps": 1000, "filter_radius": 0.1, "seed": 0}


@pytest.fixture(autouse=True)
def repeatable(as_before):
    """As every run of the script begins; Keras then leaves XLA alone, whose compiling takes longer than these runs."""
    training.make_repeatable(0)


def small_net(side=9):
    """Layers named as in the large networks."""
    image = x = keras.Input((side, side, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv1")(x)
    x = layers.Conv2D(5, 3, activation="relu", name="conv2")(x)
    x = layers.Dense(6, activation="relu", name="fc6")(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(3, activation="softmax", name="predictions")(x))


def examples(count, side=9, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(0, 60, (count, side, side, 3)).astype(np.float32), random.integers(0, 3, count)


def train_on(model, images, labels, steps):
    for _ in range(steps):
        model.train_on_batch(images, labels)
    return [np.array(weight) for weight in model.get_weights()]


# ---------------------------------------------------------------------------------------------- the optimizer


def linear(kernel, optimizer):
    model = keras.Sequential([keras.Input((5,)), layers.Dense(2, name="only")])
    model.set_weights([kernel, np.zeros(2, np.float32)])
    model.compile(optimizer(model.layers[0].kernel.path), loss="mse")
    return model


@pytest.mark.parametrize("nesterov", [False, True])
def test_inputs_64_times_as_large_train_alike_with_weights_64_times_as_small(nesterov):
    random = np.random.default_rng(0)
    images, targets = random.normal(size=(8, 5)).astype(np.float32), random.normal(size=(8, 2)).astype(np.float32)
    kernel = random.normal(size=(5, 2)).astype(np.float32)
    settings = {"learning_rate": 0.1, "momentum": 0.9, "nesterov": nesterov}
    usual = linear(kernel, lambda path: CaffeSGD(**settings, decays={path: 0.125}))
    large = linear(kernel / 64, lambda path: CaffeSGD(**settings, rates={path: 64.0**-2}, decays={path: 0.125 * 64**2}))
    expected, got = train_on(usual, images, targets, 6), train_on(large, images * 64, targets, 6)
    np.testing.assert_array_equal(got[0] * 64, expected[0])  # powers of two: to the last bit
    np.testing.assert_array_equal(got[1], expected[1])
    assert not np.allclose(expected[0], kernel, atol=0.1)


def test_rate_and_decay_go_through_the_momentum_as_krizhevsky_writes_it():
    # v <- 0.9 v - decay * rate * lr * w - rate * lr * gradient; w <- w + v (2012, section 5; Caffe's multipliers)
    weight, velocity, variable = 2.0, 0.0, keras.Variable([2.0], name="w")
    optimizer = CaffeSGD(0.1, momentum=0.9, rates={variable.path: 0.5}, decays={variable.path: 0.25})
    for gradient in (1.0, -2.0, 0.0, 4.0):
        velocity = 0.9 * velocity - 0.25 * 0.5 * 0.1 * weight - 0.5 * 0.1 * gradient
        weight += velocity
        optimizer.apply([tf.constant([gradient])], [variable])
        np.testing.assert_allclose(variable.numpy(), [weight], rtol=1e-6)


@pytest.mark.slow
def test_without_rates_and_decays_it_is_plain_gradient_descent():
    images, labels = examples(6)
    weights, results = None, []
    for kind in (keras.optimizers.SGD, CaffeSGD):
        model = small_net()
        weights = weights or model.get_weights()
        model.set_weights(weights)
        model.compile(kind(1e-4, momentum=0.9), loss="sparse_categorical_crossentropy")
        results.append(train_on(model, images, labels, 4))
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_a_variable_without_a_gradient_stays_as_it_is():
    still, moved = (keras.Variable([1.0, 2.0], name=name) for name in ("still", "moved"))
    optimizer = CaffeSGD(0.5, rates={still.path: 0.25, moved.path: 0.25}, decays={still.path: 1.0, moved.path: 4.0})
    tf.function(lambda: optimizer.apply([None, tf.constant([4.0, 8.0])], [still, moved]))()
    assert still.numpy().tolist() == [1.0, 2.0] and moved.numpy().tolist() == [0.0, 0.0]


@pytest.mark.slow
def test_the_optimizer_is_saved_with_its_rates_and_decays(tmp_path):
    images, labels = examples(4)
    model = small_net()
    recipes.prepare(model, "modern", **{**PAPER, "learning_rate": 1e-3})
    train_on(model, images, labels, 2)
    model.save(tmp_path / "model.keras")
    other = keras.models.load_model(tmp_path / "model.keras")
    assert other.optimizer.rates == {"conv1/kernel": 10 * 64.0**-2} and other.optimizer.iterations.numpy() == 2
    assert other.optimizer.decays == model.optimizer.decays and len(other.optimizer.decays) >= 2
    for layer in other.layers:
        if isinstance(layer, layers.Conv2D):  # Keras does not save what a built layer was given
            layer.kernel.constraint = model.get_layer(layer.name).kernel.constraint
    for mine, theirs in zip(train_on(model, images, labels, 2), train_on(other, images, labels, 2), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-9)


# ---------------------------------------------------------------------------------------------- the recipes


def rms(kernel):
    return np.sqrt(np.mean(np.square(kernel), axis=tuple(range(kernel.ndim - 1))))


@pytest.mark.parametrize("recipe", ["paper", "modern"])
def test_no_filter_leaves_the_radius_while_it_learns(recipe):
    model, (images, labels) = small_net(), examples(6)
    start = 0.5 if recipe == "paper" else 0.0  # He's initialisation overwrites it
    model.set_weights([weight + start for weight in model.get_weights()])
    recipes.prepare(model, recipe, **{**PAPER, "learning_rate": 1e-3, "filter_radius": 0.02})
    for _ in range(4):
        model.train_on_batch(images, labels)
        for name in ("conv1", "conv2"):
            assert rms(model.get_layer(name).get_weights()[0]).max() <= 0.02 * (1 + 1e-4)
    assert np.isclose(rms(model.get_layer("conv2").get_weights()[0]), 0.02, rtol=1e-4).any()
    assert rms(model.get_layer("fc6").get_weights()[0]).max() > 0.02  # filters are of convolutions


def test_a_radius_of_0_is_none():
    model = small_net()
    recipes.prepare(model, "paper", **{**PAPER, "filter_radius": 0})
    assert all(weight.constraint is None for weight in model.weights)


def test_the_paper_starts_from_the_weights_of_the_model():
    model = small_net()
    before = model.get_weights()
    recipes.prepare(model, "paper", **PAPER)
    for weight, was in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, was)


def test_the_modern_start_is_he_for_inputs_divided_by_64():
    model = network(models.AlexNet, 67, "float32", classes=10, units=512)
    model.get_layer("fc6").bias.assign(np.ones(512))
    recipes.prepare(model, "modern", **PAPER)
    inputs = {"conv1": 11 * 11 * 3, "conv2": 5 * 5 * 48, "conv3": 9 * 256, "conv5": 9 * 192, "fc6": 256, "fc7": 512}
    for name, count in inputs.items():
        kernel, bias = model.get_layer(name).get_weights()
        spread = np.sqrt(2 / count) / (64 if name == "conv1" else 1)
        assert kernel.std() == pytest.approx(spread, rel=0.02) and abs(kernel.mean()) < 0.02 * spread
        assert (bias == 0).all()
    assert model.get_layer("predictions").get_weights()[0].std() == pytest.approx(0.01, rel=0.05)


def test_the_modern_start_depends_on_the_seed_alone():
    weights = []
    for seed in (0, 0, 1):
        model = small_net()
        recipes.prepare(model, "modern", **{**PAPER, "seed": seed})
        weights.append(model.get_weights()[0])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.allclose(weights[0], weights[2])


@pytest.mark.parametrize(
    ("name", "level"), [("alexnet", 1.0), ("alexnet_owt", 0.0174), ("zfnet", 1.0), ("zfnet512", 1.0)]
)
def test_a_grey_level_is_what_it_is_after_preprocessing(name, level):
    assert recipes.grey_level_of(getattr(models, name).preprocess_input) == level


@pytest.mark.slow
def test_a_network_of_smaller_inputs_learns_alike():
    images, labels = examples(6)
    results = []
    for level in (1.0, 2.0**-6):  # powers of two: to the last bit
        model = small_net()
        recipes.prepare(model, "modern", **{**PAPER, "filter_radius": 5e-4}, grey_level=level)
        weights = train_on(model, images * level, labels, 5)
        results.append([weights[0] * level, *weights[1:]])
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert np.isclose(rms(results[0][0]), 5e-4, rtol=1e-4).any()  # the radius was felt, in both


@pytest.mark.parametrize("recipe", ["paper", "modern"])
def test_decay_takes_its_share_of_kernels_and_none_of_biases(recipe):
    model = small_net()
    recipes.prepare(model, recipe, learning_rate=0.1, weight_decay=0.05, steps=1, filter_radius=0, seed=0)
    model.set_weights([np.full(weight.shape, 2.0) for weight in model.get_weights()])
    model.optimizer.rates = {}
    scale = 64.0**2 if recipe == "modern" else 1.0  # of the first layer's decay
    model.optimizer.apply([tf.ones(weight.shape) for weight in model.trainable_variables], model.trainable_variables)
    rate = 0.1 * (1.9 if recipe == "modern" else 1)  # Nesterov's first step is 1 + momentum times as long
    for weight in model.trainable_variables:
        decay = 2.0 * 0.05 * (scale if weight.path.startswith("conv1") else 1.0) if weight.name == "kernel" else 0.0
        np.testing.assert_allclose(weight, 2.0 - rate * (1 + decay), rtol=1e-5)


def test_decay_is_as_strong_as_caffes():
    model = small_net()
    recipes.prepare(model, "paper", learning_rate=0.01, weight_decay=0.005, steps=1, filter_radius=0, seed=0)
    kernel = model.get_layer("conv1").kernel
    model.optimizer.build(model.trainable_variables)
    step = tf.function(lambda: model.optimizer.apply([tf.zeros(weight.shape) for weight in model.trainable_variables]))
    ours = np.abs(kernel).sum()
    weight, velocity = 1.0, 0.0
    for _ in range(600):
        step()
        velocity = 0.9 * velocity - 0.01 * 0.005 * weight  # Caffe: the decay is part of the gradient
        weight += velocity
    assert np.abs(kernel).sum() / ours == pytest.approx(weight, rel=1e-3) and weight < 0.8


@pytest.mark.parametrize(
    ("steps", "shares"),
    [
        (1000, {0: 0.1, 25: 0.55, 50: 1.0, 525: 0.5, 1000: 0.0}),  # a twentieth is 50
        (20_000, {0: 0.1, 250: 0.55, 500: 1.0, 10_250: 0.5, 20_000: 0.0}),  # 500 at most
        (10, {0: 1.0, 5: 0.5, 10: 0.0}),  # none
    ],
)
def test_the_modern_rate_warms_up_and_falls_as_a_cosine(steps, shares):
    model = small_net()
    recipes.prepare(model, "modern", **{**PAPER, "learning_rate": 0.02, "steps": steps})
    for step, share in shares.items():
        model.optimizer.iterations.assign(step)
        assert float(model.optimizer.learning_rate) == pytest.approx(0.02 * share, abs=1e-8)


@pytest.mark.parametrize(
    ("accuracies", "reductions"),
    [
        ([], 0),
        ([0.5, 0.4, 0.4, 0.4, 0.4], 0),
        ([0.5, 0.4, 0.4, 0.4, 0.4, 0.4], 1),
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 1),  # as good is not better
        ([0.5, 0.4, 0.4, 0.4, 0.4, 0.6, 0.5, 0.5, 0.5, 0.5], 0),
        ([0.5] + 9 * [0.4], 1),
        ([0.5] + 10 * [0.4], 2),
        ([0.5] + 5 * [0.4] + [0.6] + 5 * [0.5], 2),
        ([0.5] + 40 * [0.4], 3),  # three times, as Krizhevsky et al. did
    ],
)
def test_the_papers_rate_is_a_tenth_after_five_epochs_without_progress(accuracies, reductions):
    history = [{"test_accuracy": accuracy} for accuracy in accuracies]
    assert recipes.plateau_rate(history, 0.01) == pytest.approx(0.01 * 0.1**reductions)
    assert recipes.annealing("paper", 0.01)(history) == recipes.plateau_rate(history, 0.01)
    assert recipes.annealing("modern", 0.01) is None


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_the_loss_is_the_cross_entropy_to_smoothed_labels(smoothing):
    random = np.random.default_rng(0)
    scores = random.normal(size=(7, 5))
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = random.integers(0, 5, 7)
    expected = 0.0
    for row, label in zip(probabilities, labels, strict=True):
        for place, probability in enumerate(row):
            weight = smoothing / 5 + (1 - smoothing) * (place == label)
            expected -= weight * np.log(probability) / 7
    loss = recipes.Smoothed(smoothing)
    again = recipes.Smoothed.from_config(loss.get_config())
    for one in (loss, again):
        assert float(one(labels, probabilities)) == pytest.approx(expected, rel=1e-5)
        assert float(one(labels[:, None], probabilities)) == pytest.approx(expected, rel=1e-5)
    if not smoothing:
        theirs = keras.losses.SparseCategoricalCrossentropy()(labels, probabilities)
        assert float(loss(labels, probabilities)) == pytest.approx(float(theirs), rel=1e-5)


def test_a_certain_error_costs_a_finite_amount():
    assert float(recipes.Smoothed(0.0)([0], [[0.0, 1.0]])) == pytest.approx(-np.log(1e-7), rel=1e-5)


def test_the_loss_is_float32_in_mixed_precision():
    rough = tf.cast([[0.7, 0.2, 0.1]], "bfloat16")
    assert recipes.Smoothed(0.1)([0], rough).dtype == tf.float32
    model = network(models.AlexNet, 67, "mixed_bfloat16", classes=3, units=4)
    assert keras.config.dtype_policy().name == "float32"
    images = np.random.default_rng(0).normal(0, 60, (2, 67, 67, 3)).astype(np.float32)
    assert model.get_layer("conv2").compute_dtype == "bfloat16" and model(images).dtype == tf.float32
    assert {weight.dtype for weight in model.weights} == {"float32"}


# ---------------------------------------------------------------------------------------------- sizes of crops


@pytest.mark.parametrize(
    ("model", "text", "epochs", "sides"),
    [
        ("alexnet", None, 3, [227] * 3),
        ("zfnet", None, 2, [224] * 2),
        ("zfnet512", "64", 2, [64] * 2),
        ("alexnet", "100:2", 2, [100] * 2),
        ("alexnet", "128:2,176:1,227:2", 5, [128, 128, 176, 227, 227]),
        ("alexnet", "128:2,176:1,227", 5, [128, 128, 176, 227, 227]),
        ("alexnet", "128:24,176:14,227:14", 52, [128] * 24 + [176] * 14 + [227] * 14),
    ],
)
def test_a_plan_gives_every_epoch_its_side(model, text, epochs, sides):
    plan = Plan.of(model, text, epochs)
    assert list(plan.sides) == sides and plan.side == sides[-1] and plan.grows == (len(set(sides)) > 1)


FORM = "--image-size must be a side in pixels or side:epochs,..., as 128:28,176:12,227; received"


@pytest.mark.parametrize(
    ("model", "text", "message"),
    [
        ("alexnet", "", f"{FORM} ''."),
        ("alexnet", "big", f"{FORM} 'big'."),
        ("alexnet", "0", f"{FORM} '0'."),
        ("alexnet", "-5", f"{FORM} '-5'."),
        ("alexnet", "227:", f"{FORM} '227:'."),
        ("alexnet", "227:0", f"{FORM} '227:0'."),
        ("alexnet", "128:0,227", f"{FORM} '128:0,227'."),
        ("alexnet", "128,227", f"{FORM} '128,227'."),
        ("alexnet", "128:2,227,", f"{FORM} '128:2,227,'."),
        ("alexnet", "128:2:2", f"{FORM} '128:2:2'."),
        ("alexnet", "128:2,227:1", "--image-size 128:2,227:1 needs 3 epochs, but --epochs is 4."),
        ("alexnet", "128:4,227", "--image-size 128:4,227 needs 5 epochs, but --epochs is 4."),
        ("alexnet", "227:999999999999", "needs 999999999999 epochs, but --epochs is 4."),
        (
            "zfnet512",
            "128:2,224:2",
            "can be trained with growing sides. Give one side for zfnet512.",
        ),
        ("alexnet", "128:2,150:2", "the last side of alexnet must be 211 to 242 pixels, received 150."),
        ("zfnet", "128:2,240:2", "the last side of zfnet must be 208 to 238 pixels, received 240."),
    ],
)
def test_a_plan_that_cannot_be_is_refused(model, text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Plan.of(model, text, 4)


@pytest.mark.parametrize("model", SIDES)
def test_crops_are_cut_out_of_256_pixels_and_others_in_proportion(model):
    assert Plan.of(model, None, 1).source_side == 256
    assert Plan.of(model, str(SIDES[model]), 1).source_side == 256
    assert Plan.of(model, "112", 1).source_side == {"alexnet": 126}.get(model, 128)
    assert Plan.of("alexnet", "128:1,227:1", 2).source_side == 256


@pytest.mark.parametrize(
    ("build", "side", "altered"),
    [
        (models.AlexNet, 211, {}),
        (models.AlexNet, 227, {"without": ["conv3", "fc7"], "resize": {"conv4": 30, "fc6": 5}}),
        (models.AlexNet, 242, {}),
        (models.ZFNet, 208, {}),
        (models.ZFNet, 224, {}),
        (models.ZFNet, 238, {"without": ["conv4"]}),
    ],
)
def test_a_network_that_has_grown_is_the_one_of_its_last_side(build, side, altered):
    grown = network(build, None, "float32", classes=3, units=4, dropout=0.5, **altered)
    fixed = filled(network(build, side, "float32", classes=3, units=4, dropout=0.5, **altered), grown)
    check_growth(grown, fixed)
    images = np.random.default_rng(0).normal(0, 60, (2, side, side, 3)).astype(np.float32)
    below = [keras.Model(model.inputs, model.get_layer("flatten").output)(images) for model in (grown, fixed)]
    np.testing.assert_allclose(*below, rtol=1e-5)
    assert np.std(below[1]) > 0.01
    np.testing.assert_allclose(grown(images), fixed(images), rtol=1e-5)


@pytest.mark.parametrize(
    ("build", "side"), [(models.AlexNet, 210), (models.AlexNet, 243), (models.ZFNet, 206), (models.ZFNet, 240)]
)
def test_the_sides_to_grow_to_are_all_there_are(build, side):
    grown = network(build, None, "float32", classes=3, units=4)
    fixed = network(build, side, "float32", classes=3, units=4)
    with pytest.raises(ValueError, match="not compatible"):
        filled(fixed, grown)
    with pytest.raises(ValueError, match="cannot be trained with growing sides: its weights fc6/kernel"):
        check_growth(grown, fixed)


def test_weights_are_rounded_on_the_way_where_that_is_asked_for():
    model = small_net()
    rounded = filled(small_net(), model, "float16")
    for mine, theirs in zip(rounded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs.astype(np.float16).astype(np.float32))
        assert mine.dtype == np.float32


@pytest.mark.parametrize("recipe", ["paper", "modern"])
def test_crops_change_their_side_with_the_first_batch_of_an_epoch(recipe):
    plan = Plan.of("alexnet", "60:2,90:1,211:1", 4)
    crop = plan.augmentation(recipe, steps=3)
    images = np.random.default_rng(0).integers(0, 256, (2, plan.source_side, plan.source_side, 3), np.uint8)
    for step, side in {0: 60, 5: 60, 6: 90, 8: 90, 9: 211, 11: 211}.items():
        crops = crop(images, tf.constant([0, step], tf.int64))
        assert crops.shape == (2, side, side, 3) and crops.dtype == tf.float32
        assert np.min(crops) >= 0 and np.max(crops) <= 255


def photographs(count, side, classes=3):
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    labels = np.random.default_rng(1).integers(0, classes, count).astype(np.int32)
    return SimpleNamespace(
        dataset=tf.data.Dataset.from_tensor_slices((images, labels, np.arange(count))), size=count
    ), (images, labels)


def test_an_epoch_is_tested_on_the_central_part_at_its_own_side():
    plan, (found, (images, labels)) = Plan.of("alexnet", "60:2,211:1", 3), photographs(3, 238)
    tests = plan.tests(found, lambda pixels: pixels - 100.0, cache_bytes=2**30)
    for epoch, side in enumerate((60, 60, 211)):
        (seen, truth), *more = tests(epoch).as_numpy_iterator()
        np.testing.assert_array_equal(seen, centre_crops(images, side, of=211) - 100.0)
        assert truth.tolist() == labels.tolist() and not more


@pytest.mark.slow
def test_a_network_that_grows_is_not_traced_anew(tmp_path):
    plan, (found, _) = Plan.of("alexnet", "67:1,90:1,211:1", 3), photographs(5, 238)
    preprocess = models.alexnet.preprocess_input
    model = network(models.AlexNet, None, "float32", classes=3, units=4, dropout=0.5)
    recipes.prepare(model, "modern", **{**PAPER, "steps": 9})
    kernel = model.get_layer("conv1").kernel
    constraint, traces = kernel.constraint, []
    kernel.constraint = lambda value: traces.append(value) or constraint(value)  # Python runs while a step is traced
    folder, lines = training.RunFolder(tmp_path / "run", "alexnet"), []
    folder.start({"arguments": {}})
    history, _ = training.train(
        model,
        found.dataset,
        5,
        plan.tests(found, preprocess, 2**30),
        folder,
        epochs=3,
        batch_size=2,
        seed=0,
        preprocess=preprocess,
        augment=plan.augmentation("modern", 3),
        kept=lambda model: filled(network(models.AlexNet, 211, "float32", classes=3, units=4, dropout=0.5), model),
        say=lines.append,
    )
    assert 1 <= len(traces) <= 2  # Keras's own habit with new variables, and none for a new side
    assert len(lines) == 3 and np.isfinite([row["test_loss"] for row in history]).all()
    saved = keras.models.load_model(folder.checkpoint_file(2))
    assert saved.input_shape == (None, 211, 211, 3)


# ---------------------------------------------------------------------------------------------- accuracies


def slow_accuracies(model, images, labels, side):
    """One image, one crop at a time."""
    below, beside = images.shape[1] - side, images.shape[2] - side
    centre = (below // 2, beside // 2)
    hits = np.zeros(4)
    for image, label in zip(images.astype(np.float32), labels, strict=True):
        every = []
        for top, left in [(0, 0), (0, beside), (below, 0), (below, beside), centre]:
            crop = image[top : top + side, left : left + side] / 255
            every += [model(crop[None]).numpy()[0], model(crop[None, :, ::-1]).numpy()[0]]
        one = model(image[None, centre[0] : centre[0] + side, centre[1] : centre[1] + side] / 255).numpy()[0]
        for place, scores in ((0, one), (2, np.mean(every, axis=0))):
            ranked = sorted(range(len(scores)), key=lambda name: -scores[name])
            hits[place] += ranked[0] == label
            hits[place + 1] += label in ranked[:5]
    names = ("top1", "top5", "ten_crop_top1", "ten_crop_top5")
    return dict(zip(names, hits / len(images), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("classes", [3, 8])
def test_accuracies_are_those_of_a_slow_loop(classes):
    found, (images, labels) = photographs(37, 11, classes)
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(classes, activation="softmax")])
    model.layers[-1].kernel.assign(np.random.default_rng(2).normal(size=(192, classes)))
    expected = slow_accuracies(model, images, labels, 8)
    seen = []
    for ten, batch_size in ((True, 32), (True, 1), (False, 10)):
        got = accuracies(
            model,
            found.dataset,
            37,
            8,
            lambda pixels: pixels / 255,
            ten=ten,
            batch_size=batch_size,
            progress=lambda batches: seen.append(len(batches)) or batches,
        )
        assert got == {name: expected[name] for name in list(expected)[: 4 if ten else 2]}
    assert seen == [13, 37, 4]  # three images are 30 crops
    if classes == 3:
        assert expected["top5"] == expected["ten_crop_top5"] == 1.0


def test_a_network_that_knows_nothing_is_right_by_chance_alone():
    found, (_, labels) = photographs(40, 10, 8)
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(8, "softmax")])
    model.set_weights([np.zeros((192, 8)), np.zeros(8)])
    got = accuracies(model, found.dataset, 40, 8, lambda pixels: pixels)
    first, five = (labels == 0).mean(), (labels < 5).mean()
    assert got == {"top1": first, "top5": five, "ten_crop_top1": first, "ten_crop_top5": five}


# ---------------------------------------------------------------------------------------------- several devices

DEVICES = """
import os, shutil, sys
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
import models
from models import training
from models.training import photographs, recipes

images = np.random.default_rng(0).integers(0, 256, (12, 76, 76, 3), np.uint8)
examples = tf.data.Dataset.from_tensor_slices((images, np.arange(12) % 3))
preprocess = models.alexnet.preprocess_input
plan = photographs.Plan.of("alexnet", "67", 2)
small = {"without": ["conv3", "conv4", "fc7"], "resize": {"conv1": 8, "conv2": 12, "conv5": 8}}


def weights(out, epochs, names, recipe, dropout, after_one=None):
    training.make_repeatable(0)
    with photographs.devices(names):
        model = photographs.network(models.AlexNet, 67, "float32", classes=3, units=8, dropout=dropout, **small)
        recipes.prepare(model, recipe, learning_rate=0.01, weight_decay=0.1, steps=6, filter_radius=0.05, seed=0)
    assert model.distribute_strategy.num_replicas_in_sync == max(1, len(names))
    folder = training.RunFolder(out, "alexnet")
    folder.start({"arguments": {}})
    training.train(
        model, examples, 12, training.test_batches(examples, 12, batch_size=6, preprocess=lambda images:
        preprocess(images[:, :67, :67])), folder, epochs=epochs, batch_size=4, seed=0, preprocess=preprocess,
        augment=plan.augmentation(recipe, 3), learning_rate=recipes.annealing(recipe, 0.01),
        say=lambda line: after_one and not os.path.exists(after_one) and shutil.copytree(out, after_one))
    return model.get_weights()


two = ["CPU:0", "CPU:1"]
for recipe in ("paper", "modern"):
    one, both = (weights(f"{sys.argv[1]}/{recipe}{len(names)}", 1, names, recipe, 0.0) for names in ([], two))
    assert all(np.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(one, both)), recipe
straight = weights(f"{sys.argv[1]}/straight", 2, two, "modern", 0.5, f"{sys.argv[1]}/broken")
resumed = weights(f"{sys.argv[1]}/broken", 2, two, "modern", 0.5)
assert all((a == b).all() for a, b in zip(straight, resumed))
print("all alike")
"""


@pytest.mark.slow
def test_two_devices_train_as_one_and_go_on_after_an_interruption(tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", DEVICES, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert found.stdout.strip().endswith("all alike"), found.stderr[-3000:]


# ---------------------------------------------------------------------------------------------- the script


def scene(random, kind, height, width):
    """Something like a photograph: light from one side, a few things of the class's own shape and colour, grain."""
    rows, columns = np.mgrid[:height, :width]
    picture = 90 + 60 * (rows / height)[..., None] * random.uniform(0.5, 1.5, 3)
    for _ in range(4):
        y, x, size = random.uniform(0, height), random.uniform(0, width), random.uniform(8, 20)
        across, along = abs(columns - x) / size, abs(rows - y) / size
        shape = {"ball": np.hypot(across, along), "box": np.maximum(across, along), "reed": across}[kind] < 1
        picture[shape] = np.array({"ball": (220, 60, 50), "box": (40, 90, 200), "reed": (60, 170, 60)}[kind])
    return np.clip(picture + random.normal(0, 8, picture.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Thirty pictures of sides from 70 to 90 pixels in three classes, those of one class grey."""
    folder, random = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    for kind in ("ball", "box", "reed"):
        (folder / kind).mkdir()
        for order in range(10):
            picture = Image.fromarray(scene(random, kind, *random.integers(70, 91, 2)))
            (picture.convert("L") if kind == "reed" else picture).save(folder / kind / f"{order}.png")
    return folder


@pytest.fixture(scope="module")
def command():
    spec = importlib.util.spec_from_file_location("train_alexnet", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def evaluated(command, scenes, weights, *more):
    """The four percentages that `--evaluate` prints."""
    result = CliRunner().invoke(command, ["--dataset", str(scenes), "--evaluate", str(weights), *map(str, more)])
    assert result.exit_code == 0, result.output
    return [float(number) for number in re.findall(r"([\d.]+)%", result.output.splitlines()[-1])]


def central_accuracy(model, scenes, split, side):
    """The share of a split's pictures whose central square of `side` pixels is told, as they lie in the folder."""
    found = datasets.load(scenes, split, image_size=(round(side * 256 / 227),) * 2, channels=3)
    images, labels, _ = datasets.arrays(found)
    start = (images.shape[1] - side) // 2
    crops = images[:, start : start + side, start : start + side]
    probabilities = model.predict(models.alexnet.preprocess_input(crops), verbose=0)
    return np.mean(probabilities.argmax(axis=1) == labels)


@pytest.mark.slow
def test_the_papers_recipe_goes_from_pictures_to_weights(scenes, command, tmp_path):
    given = ("--dataset", scenes, "--epochs", 2, "--units", 8, "--batch-size", 8, "--image-size", 67)
    out = trained(command, *given, "--out", tmp_path / "run")
    assert "Training: 24 images." in out and "Central crop: top-1" in out
    names = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert names == {
        *("training.json", "history.csv", "learning_curve.png", "alexnet.keras", "weights.npz"),
        *("checkpoints/epoch_001.keras", "checkpoints/epoch_002.keras"),
    }
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert record["script"] == "scripts/train_alexnet.py"
    assert record["arguments"] == {
        **{"dataset": str(scenes), "model": "alexnet", "recipe": "paper", "epochs": 2, "batch_size": 8},
        **{"learning_rate": 0.01, "weight_decay": 5e-4, "dropout": 0.5, "units": 8, "filter_radius": 0.1},
        **{"without": None, "resize": None, "image_size": "67", "mixed_precision": False, "cache": 0.5, "seed": 0},
    }
    assert record["data"]["classes"] == ["ball", "box", "reed"] and record["data"]["test_size"] == 6
    assert set(record["versions"]) == {"python", "keras", "tensorflow", "numpy"}
    results = record["results"]
    assert set(results) == {
        *("top1", "top5", "ten_crop_top1", "ten_crop_top5", "top1_float16", "top5_float16"),
        *("train_top1", "train_top5", "parameters", "seconds", "weights_sha256"),
    }
    assert (tmp_path / "run" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    weights = tmp_path / "run" / "weights.npz"
    model = models.AlexNet(weights=weights, input_shape=(67, 67, 3), classes=3, units=8)
    whole = keras.models.load_model(tmp_path / "run" / "alexnet.keras")
    for mine, theirs in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs.astype(np.float16).astype(np.float32))
    assert results["parameters"] == model.count_params()
    assert results["train_top1"] == pytest.approx(central_accuracy(whole, scenes, "train", 67))
    top1, top5, *_ = evaluated(command, scenes, weights, "--units", 8, "--image-size", 67)
    assert top1 == pytest.approx(100 * results["top1_float16"], abs=0.006) and top5 == 100
    assert "is finished: top-1 accuracy" in trained(command, *given, "--out", tmp_path / "run", "--resume")


@pytest.mark.slow
def test_an_altered_network_is_trained_saved_and_measured(scenes, command, tmp_path):
    altered = ("--units", 8, "--without", "conv3", "--without", "fc7", "--resize", "fc6=5", "--resize", "conv4=10")
    given = ("--dataset", scenes, "--epochs", 1, "--batch-size", 8, "--image-size", 67)
    trained(command, *given, *altered, "--out", tmp_path / "run")
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert record["arguments"]["without"] == ["conv3", "fc7"]
    assert record["arguments"]["resize"] == {"fc6": 5, "conv4": 10}
    model = keras.saving.load_model(tmp_path / "run" / "alexnet.keras")
    counts = {layer.name: layer.count_params() for layer in model.layers if layer.weights}
    assert counts == {
        **{"conv1": 34_944, "conv2": 307_456, "conv4": (9 * 128 + 1) * 10, "conv5": (9 * 5 + 1) * 256},
        **{"fc6": 257 * 5, "predictions": 6 * 3},
    }
    assert record["results"]["parameters"] == sum(counts.values())
    weights = tmp_path / "run" / "weights.npz"
    top1, *_ = evaluated(command, scenes, weights, *altered, "--image-size", 67)
    assert top1 == pytest.approx(100 * record["results"]["top1_float16"], abs=0.006)
    wrong = [*map(str, given), "--evaluate", str(weights), "--without", "fc7"]
    assert "does not fit" in CliRunner().invoke(command, wrong).stderr


@pytest.mark.slow
@pytest.mark.as_users
def test_a_growing_run_that_is_interrupted_and_killed_ends_with_the_same_bits(scenes, command, tmp_path, monkeypatch):
    narrow = [word for layer in ("conv3", "conv4", "fc7") for word in ("--without", layer)]
    narrow += [word for layer in (1, 2, 5) for word in ("--resize", f"conv{layer}=8")]
    given = ("--dataset", scenes, "--recipe", "modern", "--epochs", 3, "--units", 8, "--batch-size", 8, *narrow)
    given += ("--image-size", "67:1,90:1,211:1", "--mixed-precision", "--seed", 3)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert "Central crop: top-1" in trained(command, *given, "--out", straight)

    words = [*map(str, given), "--out", str(broken)]
    interrupted(command, words, 1, 0, monkeypatch, SCRIPT)
    (broken / "history.csv").unlink()  # as after a crash between two files at an epoch's end
    process = signalled("SIGKILL", 2, 1, *words, "--resume", program=SCRIPT)
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    assert json.loads((broken / "training.json").read_text())["results"] is None
    assert len((broken / "history.csv").read_text().splitlines()) == 3

    changed = CliRunner().invoke(command, [*words, "--resume", "--dropout", "0.4"])
    assert changed.exit_code == 2 and "other arguments: dropout 0.5 -> 0.4" in changed.stderr.splitlines()[-1]

    out = trained(command, *given, "--out", broken, "--resume")
    assert "Resuming after epoch" in out and "Central crop: top-1" in out
    for name in ("history.csv", "weights.npz"):
        assert (broken / name).read_bytes() == (straight / name).read_bytes()
    names = sorted(path.relative_to(straight) for path in straight.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(broken) for path in broken.rglob("*") if path.is_file())
    for name in names:
        if name.suffix == ".keras":
            assert same_weights(straight / name, broken / name)
    results = [json.loads((folder / "training.json").read_text())["results"] for folder in (straight, broken)]
    assert all(result.pop("seconds") > 0 for result in results) and results[0] == results[1]
    top1, *_ = evaluated(command, scenes, straight / "weights.npz", "--units", 8, *narrow, "--image-size", 211)
    assert top1 == pytest.approx(100 * results[0]["top1_float16"], abs=0.006)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "lenet5"], "--model must be one of alexnet, alexnet_owt, zfnet, zfnet512, received lenet5."),
        (["--recipe", "fast"], "--recipe must be paper or modern, received fast."),
        (["--epochs", "0"], "--epochs must be at least 1, received 0."),
        (["--batch-size", "0"], "--batch-size must be at least 1, received 0."),
        (["--learning-rate", "nan"], "--learning-rate must be a positive number, received nan."),
        (["--weight-decay", "-1"], "--weight-decay must be 0 or a positive number, received -1.0."),
        (["--dropout", "1"], "--dropout must be at least 0 and below 1, received 1.0."),
        (["--units", "0"], "--units must be at least 1, received 0."),
        (["--filter-radius", "inf"], "--filter-radius must be 0 or a positive number, received inf."),
        (["--cache", "-1"], "--cache must be 0 or a positive number, received -1.0."),
        (["--seed", "-1"], "--seed must be at least 0 and below 2**32, received -1."),
        (["--without", "conv33"], "has no layer 'conv33'. Did you mean 'conv3'?"),
        (["--resize", "conv3"], "must be a layer and its size, at least 1, such as conv3=512, received conv3."),
        (["--resize", "conv3=5", "--resize", "conv3=6"], "--resize must be given once per layer, received conv3=6."),
        (["--resize", "conv4=5"], "'conv4' has 2 groups, into which its 5 filters cannot be divided."),
        (["--without", "conv5", "--image-size", "67:1,227:2"], "without these layers 'alexnet' cannot be trained"),
        (["--image-size", "128:3,227"], "--image-size 128:3,227 needs 4 epochs, but --epochs is 3."),
        (["--image-size", "30"], "height and width of at least 51"),
        (["--image-size", "30:1,227:2"], "height and width of at least 51"),
        (["--dataset", "imagenett"], "Unknown data set 'imagenett'."),
        (["--dataset", "./nowhere"], "There is no folder 'nowhere'."),
        (["--evaluate", "nowhere.npz"], "nowhere.npz"),
        (["--evaluate", "imagenet"], "classes"),
        (["--evaluate", "imagenete"], "Did you mean 'imagenet"),
    ],
)
def test_a_wrong_argument_ends_with_one_line_and_leaves_nothing_behind(
    command, scenes, arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    given = ["--dataset", str(scenes), "--epochs", "3", "--units", "4", "--out", "run", *arguments]
    result = CliRunner().invoke(command, given)
    assert result.exit_code == 2 and result.stderr.startswith("Error: "), result.output
    assert message in result.stderr and len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_picture_is_named_when_its_turn_comes(command, tmp_path):
    for folder in (tmp_path / "pictures" / "a", tmp_path / "pictures" / "b"):
        folder.mkdir(parents=True)
        for order in range(5):
            Image.fromarray(np.full((70, 72, 3), 40 * order, np.uint8)).save(folder / f"{order}.png")
    damaged = tmp_path / "pictures" / "b" / "4.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    given = ["--dataset", str(tmp_path / "pictures"), "--units", "4", "--image-size", "67"]
    weights = tmp_path / "weights.npz"
    models.loading.weight_files.save(models.AlexNet(input_shape=(67, 67, 3), classes=2, units=4), weights)
    result = CliRunner().invoke(command, [*given, "--evaluate", str(weights)])
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("Error: ") and "4.png' cannot be read" in result.stderr


def test_pictures_without_classes_cannot_be_trained_on(command, tmp_path):
    for order in range(5):
        Image.fromarray(np.zeros((70, 70, 3), np.uint8)).save(tmp_path / f"{order}.png")
    result = CliRunner().invoke(command, ["--dataset", str(tmp_path), "--out", str(tmp_path / "run")])
    assert result.exit_code == 2 and "has no labels to train on" in result.stderr
    assert not (tmp_path / "run").exists()


def test_help_needs_no_tensorflow():
    found = run_and_look_for_tensorflow("--help", program=SCRIPT)
    assert "code 0 False" in found.stdout and "--image-size" in found.stdout, found.stderr
