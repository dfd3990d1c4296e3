"""Laws that hold for every layer: its mirror is its transpose, and no pixel outside of a window changes a unit."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl
from specimens import fill, images, start

import deconv
from deconv import attribution, graph
from deconv.graph import windowed_layers

L64 = {"dtype": "float64"}


@pytest.fixture(autouse=True, scope="module")
def double_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


def adapted(layer, shape):
    layer.adapt(np.random.default_rng(5).normal(0.3, 2.0, (6, *shape)))
    return layer


def split(number, **settings):
    return lambda maps: keras.ops.split(maps, 2, **settings)[number]


def chain(*layers):
    return lambda maps: functools.reduce(lambda below, layer: layer(below), layers, maps)


AUGMENTATIONS = {
    "AugMix": {},
    "CutMix": {},
    "Equalization": {},
    "MixUp": {},
    "RandAugment": {},
    "RandomBrightness": {"factor": 0.5},
    "RandomColorDegeneration": {"factor": 0.5},
    "RandomColorJitter": {"brightness_factor": 0.5},
    "RandomContrast": {"factor": 0.5},
    "RandomElasticTransform": {},
    "RandomErasing": {},
    "RandomFlip": {},
    "RandomGaussianBlur": {},
    "RandomGrayscale": {},
    "RandomHue": {"factor": 0.5},
    "RandomInvert": {},
    "RandomPerspective": {},
    "RandomPosterization": {"factor": 4},
    "RandomRotation": {"factor": 0.5},
    "RandomSaturation": {"factor": 0.5},
    "RandomSharpness": {"factor": 0.5},
    "RandomShear": {"x_factor": 0.5},
    "RandomTranslation": {"height_factor": 0.5, "width_factor": 0.5},
    "RandomZoom": {"height_factor": 0.5},
    "Solarization": {"addition_factor": 0.5, "threshold_factor": 0.5},
}
NOT_IDLE = {
    "AutoContrast": {},
    "CenterCrop": {"height": 4, "width": 4},
    "ContrastLimitedAdaptiveHistogramEqualization": {},
    "Resizing": {"height": 4, "width": 4},
}
SHAPE = (4, 6, 3)
LINEAR = {
    "flatten": lambda: kl.Flatten(),
    "flatten, channels first": lambda: kl.Flatten(data_format="channels_first"),
    "reshape": lambda: kl.Reshape((3, 8, 3)),
    **{f"permute {axes}": lambda axes=axes: kl.Permute(axes) for axes in [(1, 3, 2), (2, 1, 3), (2, 3, 1)]},
    **{f"permute {axes}": lambda axes=axes: kl.Permute(axes) for axes in [(3, 1, 2), (3, 2, 1), (1, 2, 3)]},
    "cropping": lambda: kl.Cropping2D(((1, 0), (2, 1))),
    "zero padding": lambda: kl.ZeroPadding2D(((1, 0), (2, 1))),
    "upsampling": lambda: kl.UpSampling2D((2, 3)),
    "upsampling, channels first": lambda: kl.UpSampling2D((2, 3), data_format="channels_first"),
    "upsampling, bilinear": lambda: kl.UpSampling2D(2, interpolation="bilinear"),
    "resizing": lambda: kl.Resizing(3, 5, **L64),
    "centre crop": lambda: kl.CenterCrop(3, 4, **L64),
    "repeating": lambda: lambda maps: kl.RepeatVector(3)(kl.Flatten()(maps)),
    "one axis": lambda: chain(kl.Reshape((6, 12)), kl.UpSampling1D(2), kl.Cropping1D((1, 2)), kl.ZeroPadding1D((0, 3))),
    "three axes": lambda: chain(
        kl.Reshape((4, 3, 2, 3)), kl.UpSampling3D((1, 1, 2)), kl.Cropping3D(((1, 0), (0, 1), 1)), kl.ZeroPadding3D(1)
    ),
    "rescaling": lambda: kl.Rescaling([0.5, -2.0, 3.0], 0.25),
    "normalization": lambda: kl.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 4.0, 0.25], **L64),
    "normalization, adapted": lambda: adapted(kl.Normalization(**L64), SHAPE),
    "normalization, scalar": lambda: kl.Normalization(axis=None, mean=1.0, variance=4.0, **L64),
    "normalization, of each place": lambda: adapted(kl.Normalization(axis=(1, 2, 3), **L64), SHAPE),
    "normalization, inverted": lambda: kl.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 4.0, 9.0], invert=True),
    "alpha dropout": lambda: kl.AlphaDropout(0.5),
    "random rotation": lambda: kl.RandomRotation(0.3, **L64),
    "first half": lambda: lambda maps: kl.Identity()(split(0, axis=2)(maps)),
    "second half": lambda: lambda maps: kl.Identity()(split(1, axis=1)(maps)),
    "both halves": lambda: lambda maps: kl.Concatenate()(keras.ops.split(maps, 2, axis=1)),
    "a half twice": lambda: lambda maps: kl.Add()([keras.ops.split(maps, 2, axis=2)[1]] * 2),
    "unstacked": lambda: lambda maps: kl.Identity()(keras.ops.unstack(maps, axis=-1)[1]),
    "turned channels": lambda: lambda maps: maps[..., ::-1],
    "cut": lambda: lambda maps: maps[:, 1:, :-2],
    "operation transpose": lambda: lambda maps: keras.ops.transpose(maps, (0, 3, 1, 2)),
    "operation reshape": lambda: lambda maps: keras.ops.reshape(maps, (-1, 12, 6)),
    "operation flip": lambda: lambda maps: keras.ops.flip(maps, axis=1),
    "operation concatenate": lambda: lambda maps: keras.ops.concatenate([maps, 2 * maps], axis=2),
    "operation stack": lambda: lambda maps: keras.ops.stack([maps, -maps], axis=-1),
    "constants": lambda: lambda maps: 1.5 - (maps / 255 - 0.5) * 2,
}


def single(make, shape=SHAPE):
    """A model of an input and what is made of it."""
    image = start(*shape)
    return keras.Model(image, make()(image))


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_layer_is_mirrored_by_its_transpose(name):
    model = single(LINEAR[name])
    size = int(np.prod(SHAPE))
    up = model(np.eye(size).reshape(-1, *SHAPE), training=False) - model(np.zeros((1, *SHAPE)), training=False)
    matrix = np.reshape(up, (size, -1))
    signals = np.eye(matrix.shape[1]).reshape(-1, *model.output_shape[1:])
    down = deconv.mirror(model, graph.walk(model).steps[-1].name, rectify=False)([signals])
    tolerance = 1e-7 if name == "resizing" else 1e-12  # TensorFlow resizes in float32
    np.testing.assert_allclose(np.reshape(down, (-1, size)).T, matrix, rtol=0, atol=tolerance)
    assert np.abs(matrix).max() > 1e-3


@pytest.mark.parametrize("name", ["flatten, channels first", "both halves", "cut", "a half twice", "normalization"])
def test_a_mirror_of_it_can_be_saved_and_loaded(name, tmp_path):
    model = single(LINEAR[name])
    mirror = deconv.mirror(model, graph.walk(model).steps[-1].name)
    mirror.save(tmp_path / "mirror.keras")
    signal = np.random.default_rng(1).standard_normal((2, *model.output_shape[1:]))
    loaded = keras.saving.load_model(tmp_path / "mirror.keras")
    np.testing.assert_array_equal(loaded([signal]), mirror([signal]))


def test_zeros_come_down_where_nothing_uses_an_output():
    model = single(lambda: lambda maps: kl.Identity(name="top")(split(1, axis=1)(maps)))
    down = np.asarray(deconv.mirror(model, "top")([np.ones((1, 2, 6, 3))]))
    assert down.shape == (1, 4, 6, 3) and (down[:, 2:] == 1).all() and (down[:, :2] == 0).all()


# Layers that do nothing at inference


def test_every_layer_of_keras_that_augments_is_known_by_what_it_does_at_inference():
    base = kl.RandomFlip.__mro__[1]
    known = [name for name in dir(kl) if isinstance(getattr(kl, name), type) and issubclass(getattr(kl, name), base)]
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 6, 5, 3)).astype("float32")
    for name in set(known) - {"MaxNumBoundingBoxes", "RandomCrop"}:  # no images; not the shape that it says
        layer = getattr(kl, name)(**{**AUGMENTATIONS, **NOT_IDLE}[name], dtype="float32")
        found = np.asarray(layer(pixels, training=False))
        idle = found.shape == pixels.shape and np.array_equal(found, pixels)
        assert (type(layer) in graph.IDLE) == idle == (name in AUGMENTATIONS), name


@pytest.mark.parametrize(
    "layer",
    [
        kl.RandomFlip(**L64),
        kl.RandomZoom(0.3, **L64),
        kl.AlphaDropout(0.5, **L64),
        kl.RandomErasing(**L64),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_the_usual_transfer_model_with_augmentation_inside_is_like_that_without(layer):
    def model(*extra):
        base = [kl.Conv2D(4, 3, activation="relu", name="conv"), kl.MaxPooling2D(2, name="pool"), kl.Flatten()]
        return fill(keras.Sequential([start(8, 7, 3), *extra, *base, kl.Dense(2, name="top")]), seed=3)

    with_it, without = model(layer), model()
    pixels = images(without, 2)
    window = deconv.receptive_windows(with_it, "pool", [1, 1]).tolist()
    assert window == deconv.receptive_windows(without, "pool", [1, 1]).tolist() == [2, 2, 6, 6]
    down = [deconv.Deconvnet(m).mirror("conv")([np.ones((1, 6, 5, 4))]) for m in (with_it, without)]
    np.testing.assert_array_equal(*down)
    scores = [deconv.activations(m, pixels, "top")["top"] for m in (with_it, without)]
    np.testing.assert_array_equal(*scores)


# Windows


def between(layer):
    """A model with the layer between two convolutions, whose strides do not agree with the map."""
    image = start(9, 8, 2)
    maps = kl.Conv2D(4, (3, 2), padding="same", name="below")(image)
    model = keras.Model(image, kl.Conv2D(2, 2, strides=(1, 2), name="top")(layer(maps)))
    for name in ("below", "top"):
        fill(model.get_layer(name), seed=4)
    return model


SEEN = {
    "layer normalization": kl.LayerNormalization,
    "unit normalization": kl.UnitNormalization,
    "rms normalization": kl.RMSNormalization,
    "normalization": lambda: kl.Normalization(mean=[0.1] * 4, variance=[2.0] * 4, **L64),
    "normalization, of each place": lambda: adapted(kl.Normalization(axis=(1, 2, 3), **L64), (9, 8, 4)),
    "random contrast": lambda: kl.RandomContrast(0.3, **L64),
    "spatial dropout": lambda: kl.SpatialDropout2D(0.5),
    "cropping": lambda: kl.Cropping2D(((1, 2), (0, 1))),
    "cropping, then padding": lambda: lambda maps: kl.ZeroPadding2D(2)(kl.Cropping2D(((1, 2), (2, 1)))(maps)),
    "split": lambda: split(1, axis=-1),
    "halves": lambda: lambda maps: kl.Concatenate()(keras.ops.split(maps, 2, axis=3)[::-1]),
    "turned channels": lambda: lambda maps: maps[..., ::-1],
    "operation flip": lambda: lambda maps: keras.ops.flip(maps, axis=-1),
    "constants": lambda: lambda maps: 1 - maps / 255,
}
EVERYTHING = {
    "layer normalization of maps": lambda: kl.LayerNormalization(axis=(1, 2, 3)),
    "layer normalization of rows": lambda: kl.LayerNormalization(axis=1),
    "group normalization": lambda: kl.GroupNormalization(2),
    "unit normalization of columns": lambda: kl.UnitNormalization(axis=2),
    "split of rows": lambda: lambda maps: keras.ops.split(maps, 3, axis=1)[1],
    "turned rows": lambda: lambda maps: maps[:, ::-1],
    "transposed": lambda: lambda maps: keras.ops.transpose(maps, (0, 2, 1, 3)),
    "permuted": lambda: kl.Permute((2, 1, 3)),
    "upsampling": lambda: kl.UpSampling2D(2),
}


def seen_by(model, pixels):
    """`(rows, columns, height, width)` bools: which units of the top notice which pixel, measured."""
    height, width = pixels.shape[1:3]
    places = np.eye(height * width).reshape(-1, height, width, 1)
    changed = np.abs(model(pixels + places, training=False) - model(pixels, training=False)).max(axis=-1) > 1e-12
    return np.moveaxis(changed, 0, -1).reshape(*changed.shape[1:], height, width)


@pytest.mark.parametrize("name", [*SEEN, *EVERYTHING])
def test_a_window_holds_what_a_unit_notices_and_no_more_where_a_position_sees_one(name):
    model = between({**SEEN, **EVERYTHING}[name]())
    pixels = images(model, 1)
    seen = seen_by(model, pixels)
    windows = deconv.receptive_windows(model, "top", np.stack(np.mgrid[: seen.shape[0], : seen.shape[1]], axis=-1))
    for place in np.ndindex(*seen.shape[:2]):
        top, left, bottom, right = window = windows[place].tolist()
        if not seen[place].any():
            assert name == "cropping, then padding" and (bottom == top or right == left)
        else:
            assert seen[place].sum() == seen[place][top:bottom, left:right].sum()
            assert window == ([0, 0, 9, 8] if name in EVERYTHING else box_of(seen[place]))


def box_of(seen):
    """`[top, left, bottom, right]` around the True cells."""
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    return [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]


def test_windows_of_images_without_channels_or_with_depth_are_refused_by_their_shape():
    flat = keras.Sequential([start(8, 7), kl.Reshape((8, 7, 1)), kl.Conv2D(2, 3, name="conv")])
    deep = keras.Sequential([start(5, 6, 7, 1), kl.Conv3D(2, 3, name="conv")])
    for model, shape in ((flat, r"\(8, 7\)"), (deep, r"\(5, 6, 7, 1\)")):
        for ask, given in ((deconv.receptive_windows, [0, 0]), (deconv.touched_windows, [0, 0, 1, 1])):
            with pytest.raises(ValueError, match=f"Receptive fields need an input of shape .* takes {shape}.*Reshape"):
                ask(model, "conv", given)
    assert deconv.Deconvnet(flat).project(np.ones((2, 8, 7)), "conv", 0).shape == (2, 8, 7)


# Laws of networks


def mixed(bias=True):
    """Many of these layers in one network, with odd sizes, whose occlusions are computed on windows in part."""
    image = start(13, 11, 3)
    maps = (kl.RandomFlip(name="flip", **L64)(image)[..., ::-1] - 0.0) * 2
    maps = kl.Normalization(mean=[0.0] * 3, variance=[1.0, 4.0, 0.25], name="scale", **L64)(maps)
    maps = kl.Conv2D(6, 3, padding="same", activation="relu", use_bias=bias, name="conv1")(maps)
    maps = kl.MaxPooling2D(2, name="pool1")(kl.Cropping2D(((1, 0), (0, 1)), name="crop")(maps))
    left, right = keras.ops.split(maps, 2, axis=-1)
    left = kl.Conv2D(4, 2, padding="same", activation="relu", use_bias=bias, name="conv2")(left)
    maps = kl.Concatenate(name="joined")([left, right])
    maps = kl.Permute((2, 1, 3), name="turned")(kl.ZeroPadding2D(1, name="pad")(maps))
    maps = kl.UpSampling2D((1, 2), name="larger")(maps)
    maps = kl.Conv2D(5, 3, strides=2, activation="relu", use_bias=bias, name="conv3")(maps)
    vector = kl.Flatten(data_format="channels_first", name="flatten")(maps)
    return fill(keras.Model(image, kl.Dense(4, use_bias=bias, name="top")(vector)), seed=6)


def test_the_mirror_of_a_whole_network_is_its_transpose():
    found = deconv.verify(mixed(), "top", show=False)
    assert found.adjoint_residual < 1e-13 and found.gradient_difference < 1e-12


@pytest.mark.slow
def test_relevance_by_the_rule_zero_is_gradient_times_input_without_biases():
    model = mixed(bias=False)
    pixels = images(model, 2)
    with tf.GradientTape() as tape:
        given = tf.Variable(pixels)
        value = tf.reduce_sum(model(given, training=False)[:, 1])
    expected = tape.gradient(value, given) * pixels
    found = attribution.lrp(model, pixels, 1, composite="zero")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    sums = attribution.relevances(model, pixels, 1, composite="zero").residuals
    assert {"flatten", "turned", "joined"} <= set(sums) and max(part.max() for part in sums.values()) < 1e-9
    bounded = attribution.relevances(model, pixels, 1)  # z_box, above a flip, a division and a normalisation
    assert bounded.rules["conv1"].startswith("z_box")


def windowable():
    """The layers of the lower half of `mixed`, all of which run on windows."""
    image = start(40, 37, 3)
    maps = kl.RandomContrast(0.3, name="contrast", **L64)(image) / 2
    maps = kl.Normalization(mean=[0.1] * 3, variance=[1.0, 4.0, 0.25], name="scale", **L64)(maps)
    maps = kl.Conv2D(8, 3, padding="same", activation="relu", name="conv1")(maps)
    maps = kl.LayerNormalization(name="norm")(kl.Cropping2D(((1, 2), (0, 1)), name="crop")(maps))
    maps = kl.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="conv2")(maps)
    maps = kl.MaxPooling2D(3, 2, padding="same", name="pool")(maps)
    maps = kl.Conv2D(16, 3, padding="same", activation="relu", name="conv3")(maps)
    return fill(keras.Model(image, kl.Dense(3, name="top")(kl.GlobalAveragePooling2D()(maps))), seed=7)


@pytest.mark.slow
def test_occlusions_computed_on_windows_are_those_of_whole_images():
    model = windowable()
    model_graph = graph.walk(model)
    moving = [step.name for step in model_graph.steps if windowed_layers.is_translation_equivariant(step)]
    assert {"contrast", "scale", "crop", "norm", "conv3"} <= set(moving)
    (pixels,) = images(model, 1)
    for settings in ({"size": 5, "stride": 5}, {"size": (7, 4), "stride": (6, 3)}):
        few = deconv.occlusion_maps(model, pixels, 1, "conv3", growth=1.0, **settings)
        all_of_it = deconv.occlusion_maps(model, pixels, 1, "conv3", exact="full", **settings)
        np.testing.assert_allclose(few.probability, all_of_it.probability, rtol=0, atol=1e-11)
        np.testing.assert_allclose(few.activation, all_of_it.activation, rtol=0, atol=1e-9)


def test_projections_of_units_inside_their_windows_cross_a_crop():
    image = start(30, 27, 2)
    maps = kl.Conv2D(6, 3, padding="same", activation="relu", name="conv1")(kl.Cropping2D(((2, 1), (1, 3)))(image))
    maps = kl.MaxPooling2D(2, name="pool")(kl.Normalization(mean=[0.0] * 6, variance=[2.0] * 6, **L64)(maps))
    maps = kl.Cropping2D(1)(maps)
    model = fill(keras.Model(image, kl.Conv2D(4, 3, padding="same", activation="relu", name="top")(maps)), seed=8)
    pixels = images(model, 2)
    one, other = deconv.Deconvnet(model), deconv.Deconvnet(model, windowed=False)
    assert one._attach("top").patches is not None
    shape = graph.walk(model).steps[-1].output.shape
    places = [(0, 0), (shape[0] - 1, shape[1] - 1), (3, 4)]
    for place in places:
        np.testing.assert_allclose(
            one.project(pixels, "top", 1, place), other.project(pixels, "top", 1, place), rtol=0, atol=1e-12
        )
    units_of_both = [net.project_units(pixels, "top", [0, 1, 2], places, numbers=[0, 1, 1]) for net in (one, other)]
    np.testing.assert_allclose(*units_of_both, rtol=0, atol=1e-12)
    assert np.abs(units_of_both[0]).max() > 1e-3
