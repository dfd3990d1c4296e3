"""Bad input fails at the door: the message names the thing, what was received, and the way out."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl
from specimens import SPECIMENS, images

import deconv
from deconv import Deconvnet
from deconv.validation import check_images


@functools.cache
def lenet():
    return SPECIMENS["lenet"]()


def pixels(n=2):
    return images(lenet(), n)


def spoilt(value):
    broken = pixels(4)
    broken[2, 5, 5] = value
    return broken


def small(*chain, shape=(8, 7, 2)):
    """A model of the given layers."""
    return keras.Sequential([keras.Input(shape), *chain])


def first():
    return small(kl.Conv2D(3, 3, data_format="channels_first", name="first"), shape=(2, 8, 7))


def sum_of_two():
    one, other = keras.Input((8, 7, 2), name="one"), keras.Input((8, 7, 2), name="other")
    return keras.Model([one, other], kl.Add(name="add")([kl.Conv2D(2, 1, name="left")(one), other]), name="two")


def sum_of_shapes():
    image = keras.Input((8, 7, 2))
    return keras.Model(image, kl.Add(name="add")([kl.Conv2D(1, 1)(image), kl.Conv2D(3, 1)(image)]))


def broken():
    model = small(kl.Conv2D(2, 3, name="conv"))
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    return Deconvnet(model)


class Subclassed(keras.Model):
    def call(self, maps):
        return maps


def project(layer="conv2", channel=0, *unit, images=None, **more):
    return Deconvnet(lenet()).project(pixels() if images is None else images, layer, channel, *unit, **more)


def units(channels, layer="conv1"):
    return Deconvnet(lenet()).project_units(pixels(), layer, channels)


def top(source, layer="conv1", **more):
    return deconv.top_activations(lenet(), source, layer, **more)


def occlude(**more):
    return deconv.occlusion_maps(lenet(), pixels(1)[0], **more)


def compare(pool="pool1", **more):
    return deconv.compare_pooling(lenet(), pixels(), pool, **more)


def see(positions, model=None, layer="conv2"):
    return deconv.receptive_windows(model or lenet(), layer, positions)


zeros = functools.partial(np.zeros, dtype="float32")
stream = tf.data.Dataset.from_tensor_slices
nested = SPECIMENS["nested"]
tanh = functools.partial(kl.Conv2D, 2, 3, activation="tanh", name="conv")
up = (kl.Conv2DTranspose(2, 2, name="up"), kl.Conv2D(2, 3, name="top"))
# What is bad, the call, and what the message must hold, parted by |
CASES = [
    # layers
    ("unknown layer", lambda: project("conv_1"), "'lenet'|'conv_1'|Did you mean 'conv1'?|conv1, pool1, conv2"),
    ("unknown nested", lambda: deconv.mirror(nested(), "base/conv3"), "'base/conv3'|Did you mean 'base/conv"),
    ("like no layer", lambda: deconv.activations(lenet(), pixels(), "xyz"), "'xyz'|Its layers are: conv1, pool1"),
    ("no layer", lambda: project(None), "None|Its layers are: conv1"),
    ("large index", lambda: project(9), "layers 0 to 8|received layer 9|conv1, pool1"),
    ("small index", lambda: project(-10), "layers 0 to 8|received layer -10|conv1, pool1"),
    ("the input", lambda: project(0), "'image'|the input layer|conv1, pool1"),
    ("top of no layers", lambda: top(pixels(), []), "layer|at least one|received"),
    ("no layers", lambda: deconv.activations(lenet(), pixels(), []), "layer|at least one|received"),
    ("layer to watch", lambda: occlude(layer="conv3"), "'conv3'|Did you mean 'conv"),
    ("no pool", lambda: compare("conv1"), "'conv1' (Conv2D)|pool1, pool2"),
    # channels and positions
    ("large channel", lambda: project("conv2", 16), "'conv2'|channels 0 to 15|received channel 16"),
    ("small channel", lambda: project("conv2", -17), "'conv2'|channels 0 to 15|received channel -17"),
    ("one of many", lambda: project("conv1", [0, 7]), "'conv1'|channels 0 to 5|received channel 7"),
    ("one of units", lambda: units([0, 6]), "'conv1'|channels 0 to 5|received channel 6"),
    ("channel by name", lambda: project("conv2", "seven"), "channel must be an int|'seven'"),
    ("half a channel", lambda: project("conv2", 1.5), "channel must be an int|1.5"),
    ("no channels", lambda: project("conv2", []), "channel must be an int|[]"),
    (
        "few channels",
        lambda: units([0]),
        "one channel and one position per image|expected 2 of each|channels of shape (1,)",
    ),
    ("target", lambda: occlude(target=10), "0 to 9|10"),
    ("channel to watch", lambda: occlude(layer="conv1", channel=6), "'conv1'|channels 0 to 5|received channel 6"),
    ("position outside", lambda: project("conv2", 0, (3, 10)), "rows 0 to 9|columns 0 to 9|(3, 10)"),
    ("negative position", lambda: project("conv2", 0, (-1, 0)), "rows 0 to 9|columns 0 to 9|(-1, 0)"),
    ("half a position", lambda: project("conv2", 0, (0.5, 0)), "'max', 'map' or a position|(0.5, 0)"),
    ("three numbers", lambda: project("conv2", 0, (1, 2, 3)), "'max', 'map' or a position|(1, 2, 3)"),
    ("a position each", lambda: project("conv2", [0, 1], [[0, 0], [1, 1]], batch_size=2), "position|[[0, 0], [1, 1]]"),
    ("unknown unit", lambda: project("conv2", 0, "min"), "'max', 'map' or a position|'min'"),
    ("unknown start", lambda: project("conv2", 0, start="two"), "'activation' or 'one'|'two'"),
    ("window outside", lambda: see([[0, 10]]), "'conv2'|10 rows by 10 columns|[[0, 10]]"),
    ("window of a number", lambda: see(3), "'conv2'|pairs (row, column)|3"),
    # images
    ("bytes", lambda: project(images=np.zeros((2, 28, 28, 1), "uint8")), "floating point|uint8|Preprocess"),
    (
        "objects",
        lambda: project(images=pixels().astype(object)),
        "images must be an array of numbers|(2, 28, 28, 1)|dtype object",
    ),
    ("one image", lambda: project(images=pixels()[0]), "(n, 28, 28, 1)|(28, 28, 1)|image[None]"),
    ("another size", lambda: project(images=zeros((2, 32, 28, 1))), "(n, 28, 28, 1)|(2, 32, 28, 1)|Resize"),
    ("three channels", lambda: project(images=zeros((2, 28, 28, 3))), "(n, 28, 28, 1)|(2, 28, 28, 3)|convert"),
    ("no images", lambda: project(images=pixels(0)), "at least one image|(0, 28, 28, 1)"),
    ("NaN", lambda: project(images=spoilt(np.nan)), "finite|image 2|loaded or preprocessed"),
    ("infinity", lambda: Deconvnet(lenet()).record(spoilt(-np.inf), "conv1"), "finite|image 2"),
    ("NaN in a stream", lambda: top(stream(spoilt(np.nan)).batch(4)), "finite|image 2"),
    ("NaN to occlude", lambda: deconv.occlusion_maps(lenet(), spoilt(np.nan)[2]), "finite|loaded or preprocessed"),
    ("one to verify", lambda: deconv.verify(lenet(), "conv1", pixels()[0]), "(n, 28, 28, 1)|image[None]"),
    ("empty array", lambda: top(pixels(0)), "at least one|image|received none"),
    ("empty stream", lambda: top(stream(pixels(0)).batch(2)), "at least one|image|received none"),
    ("stream of numbers", lambda: top(stream(np.arange(5))), "must yield images|shape=()"),
    ("stream of dictionaries", lambda: top(stream({"scans": pixels()})), "keys scans|image is required|Map the"),
    ("stream of bytes", lambda: top(stream(np.zeros((3, 28, 28, 1), "uint8"))), "floating point|uint8|Preprocess"),
    ("batch to occlude", lambda: deconv.occlusion_maps(lenet(), pixels()), "(height, width, channels)|(2, 28, 28, 1)"),
    ("generator", lambda: top(image for image in pixels()), "a generator|no length|from_generator"),
    ("stream without end", lambda: top(stream(pixels()).repeat()), "never ends|dataset.take(count)"),
    ("weights for ids", lambda: top(stream((pixels(), [1, 2], [1, 1])), "conv1"), "the image id|weights"),
    ("labels of two classes", lambda: top(stream((pixels(), np.ones((2, 3), int)))), "labels|(2, 3)"),
    (
        "lost images",
        lambda: top(pixels(3), preprocess=lambda batch: batch[:1]),
        "preprocess must return|received 1 for 3",
    ),
    (
        "lost while occluding",
        lambda: occlude(preprocess=lambda batch: batch[:1]),
        "preprocess must return|received 1 for",
    ),
    # numbers
    ("k", lambda: top(pixels(), k=0), "k must be|at least 1|received 0"),
    ("half of k", lambda: top(pixels(), k=2.5), "k must be|received 2.5"),
    ("batch size", lambda: project(batch_size=0), "batch_size must be|at least 1|received 0"),
    ("true", lambda: occlude(batch_size=True), "batch_size must be|received True"),
    ("shift", lambda: compare(shifts=(0,)), "shifts must be|at least 1|received 0"),
    ("tall square", lambda: occlude(size=29), "29 rows|image only 28|smaller size"),
    ("wide square", lambda: occlude(size=(4, 30)), "30 columns|image only 28|smaller size"),
    ("no square", lambda: occlude(size=0), "size must be|at least 1|received 0"),
    ("stride 0", lambda: occlude(stride=0), "stride must be|at least 1|received 0"),
    ("stride back", lambda: occlude(stride=(1, -2)), "stride must be|at least 1|received -2"),
    ("stride > size", lambda: occlude(size=4, stride=5), "stride of 5|patches of 4|stride <= size"),
    ("three strides", lambda: occlude(stride=(1, 1, 1)), "stride must be|pair (rows, columns)|(1, 1, 1)"),
    ("fill of a shape", lambda: occlude(fill=[1, 2, 3]), "fill must be|(1,)|(28, 28, 1)|(3,)"),
    ("fill in words", lambda: occlude(fill="grey"), "fill must be a finite number|'grey'"),
    ("collisions", lambda: Deconvnet(lenet(), collisions="mean"), "collisions must be|sum, last, max|'mean'"),
    ("no collisions", lambda: deconv.mirror(lenet(), "conv1", collisions=None), "sum, last, max|None"),
    ("fill of nothing", lambda: occlude(fill=[]), "fill must be a finite number|[]"),
    ("fill of NaN", lambda: compare(fill=np.nan), "fill must be a finite number|nan"),
    ("imaginary fill", lambda: occlude(fill=1j), "fill must be|1j"),
    (
        "one-hot target",
        lambda: occlude(target=np.eye(10, dtype=int)[3]),
        "target must be one of the classes 0 to 9|array(",
    ),
    (
        "two channels to watch",
        lambda: occlude(layer="conv1", channel=[5, 6]),
        "channel must be one whole number|[5, 6]",
    ),
    ("half a window", lambda: see([1.7, 0]), "pairs (row, column)|1.7"),
    ("no shifts", lambda: compare(shifts=["far"]), "shifts must be|'far'"),
    # models
    ("size of a side", lambda: Deconvnet(lenet(), input_shape=28), "input_shape must be (height, width, channels)|28"),
    (
        "rules of no layer",
        lambda: Deconvnet(lenet(), rules={"conv_2": deconv.identity}),
        "'conv_2'|Did you mean 'conv2'?",
    ),
    ("rules in a list", lambda: Deconvnet(lenet(), rules=[deconv.identity]), "rules must be a dict|function"),
    (
        "a rule that stays above",
        lambda: deconv.mirror(small(tanh()), "conv", rules={"conv": deconv.identity}),
        "rule of layer 'conv' (Conv2D)|(6, 5, 2)|(8, 7, 2)|also transpose the layer's filter",
    ),
    (
        "a rule of nothing",
        lambda: deconv.mirror(lenet(), "conv2", rules={"conv1": lambda step: None}),
        "rule of layer 'conv1'|list of Keras layers|None",
    ),
    ("weights of NaN", lambda: broken().record(zeros((1, 8, 7, 2)), "conv"), "'conv' contains NaN|weights"),
    (
        "maxima of NaN",
        lambda: deconv.top_activations(broken().model, zeros((1, 8, 7, 2)), "conv"),
        "'conv' contains NaN",
    ),
    (
        "no rule",
        lambda: deconv.mirror(small(kl.PReLU(name="odd")), "odd"),
        "'odd' is a PReLU|Conv2D|rules={'odd': rule}",
    ),
    ("no rule below", lambda: deconv.mirror(small(*up), "top"), "'up' is a Conv2DTranspose|rules={'up': rule}"),
    ("activation", lambda: deconv.mirror(small(tanh()), "conv"), "'conv' (Conv2D)|'tanh'|relu|rules={'conv': rule}"),
    (
        "leaky relu",
        lambda: deconv.mirror(small(kl.ReLU(negative_slope=0.1, name="leak")), "leak"),
        "'leak' (ReLU)|rules=",
    ),
    ("channels first", lambda: deconv.mirror(first(), "first"), "'first'|channels first|data_format='channels_last'"),
    ("window, channels first", lambda: see([0, 0], first(), "first"), "'first'|channels first|data_format="),
    ("axis", lambda: deconv.mirror(small(kl.BatchNormalization(axis=1, name="norm")), "norm"), "'norm'|axis 1|axis=-1"),
    ("sum of shapes", lambda: deconv.mirror(sum_of_shapes(), "add"), "'add' (Add)|(8, 7, 1)|(8, 7, 3)|rules="),
    ("no graph", lambda: Deconvnet(Subclassed(name="sub")), "'sub' (Subclassed)|no graph|functional API"),
    ("never built", lambda: Deconvnet(keras.Sequential([kl.Conv2D(2, 3)])), "no graph|an Input or model.build"),
    ("no model", lambda: Deconvnet("lenet5"), "must be a keras.Model|str"),
    (
        "two inputs",
        lambda: deconv.mirror(sum_of_two(), "add"),
        "'add' of model 'two'|2 inputs|keras.Model(inputs, outputs)",
    ),
    ("open size", lambda: Deconvnet(small(kl.Conv2D(2, 3), shape=(None, None, 2))), "(None, None, 2)|input_shape=("),
    ("another input_shape", lambda: Deconvnet(lenet(), input_shape=(32, 32, 1)), "'lenet'|(28, 28, 1)|(32, 32, 1)"),
    ("no classes", lambda: deconv.occlusion_maps(small(*up), zeros((8, 7, 2)), size=3), "(n, classes)|keras.Model("),
]


@pytest.mark.parametrize(("call", "parts"), [pytest.param(call, parts, id=case) for case, call, parts in CASES])
def test_bad_input_is_refused_with_its_name_its_value_and_the_way_out(call, parts):
    with pytest.raises(ValueError) as refusal:
        call()
    message = str(refusal.value)
    assert [part for part in parts.split("|") if part not in message] == [], message


def test_one_input_of_a_model_of_two_can_be_looked_at_below_their_meeting():
    two = sum_of_two()
    given = np.random.default_rng(0).standard_normal((2, 8, 7, 2)).astype("float32")
    expected = two.get_layer("left")(given)
    np.testing.assert_allclose(Deconvnet(two).record(given, "left").activations, expected, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_images_are_taken_from_arrays_tensors_and_lists_in_the_dtype_of_the_model():
    given = pixels().astype("float64")
    for form in (given, given.astype("float16"), tf.constant(given), given.tolist()):
        taken = check_images(form, (28, 28, 1), "float32")
        assert isinstance(taken, np.ndarray) and taken.dtype == "float32"
        np.testing.assert_allclose(taken, given, rtol=1e-3, atol=1e-6)
    with pytest.raises(ValueError, match="finite; image 1"):  # more than float32 can hold
        check_images(np.array([1.0, 1e39]).reshape(2, 1, 1, 1), (1, 1, 1), "float32")
