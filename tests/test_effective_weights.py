"""LoRA and quantisation change the kernel that counts, not the variable of that name."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl
from specimens import fill

import deconv
from deconv import attribution
from deconv.diagnostics import filter_statistics
from deconv.graph.effective_weights import kernel_of

PIXELS = np.random.default_rng(0).standard_normal((2, 7, 6, 3)).astype("float32")


def small(activation="relu"):
    model = keras.Sequential([keras.Input((7, 6, 3))])
    model.add(kl.Conv2D(4, 3, padding="same", activation=activation, use_bias=False, name="conv"))
    model.add(kl.Flatten(name="flatten"))
    model.add(kl.Dense(3, use_bias=False, name="top"))
    return fill(model, seed=1)


def low_rank(model):
    """LoRA in both layers, and the two kernels that they then have, multiplied out by hand."""
    found = []
    for number, name in enumerate(("conv", "top")):
        layer = model.get_layer(name)
        before = layer.kernel.numpy()
        layer.enable_lora(2, lora_alpha=3)
        random = np.random.default_rng(number)
        for factor in (layer.lora_kernel_a, layer.lora_kernel_b):
            factor.assign(random.standard_normal(factor.shape) * 0.3)
        found.append(before + 1.5 * (layer.lora_kernel_a.numpy() @ layer.lora_kernel_b.numpy()))
    return found


def merged(kernels_of_both):
    """The same network with these kernels as plain variables."""
    model = small()
    model.set_weights(kernels_of_both)
    return model


def test_low_rank_kernels_count_in_projections_relevances_and_filters():
    model = small()
    plain = merged(low_rank(model))
    np.testing.assert_allclose(model(PIXELS), plain(PIXELS), rtol=1e-4)
    signal = [np.random.default_rng(2).standard_normal((2, 3)).astype("float32")]
    down = deconv.mirror(model, "top")
    np.testing.assert_allclose(down(signal), deconv.mirror(plain, "top")(signal), rtol=0, atol=1e-5)
    found, expected = (attribution.lrp(m, PIXELS, 1, composite="zero") for m in (model, plain))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    rms = [filter_statistics.examine_filters(m.get_layer("conv")).rms for m in (model, plain)]
    np.testing.assert_allclose(*rms, rtol=1e-5)
    # A mirror follows when the factors are trained further.
    model.get_layer("top").lora_kernel_b.assign(np.zeros((2, 3)))
    again = merged([kernel_of(model.get_layer(name)).__tf_tensor__().numpy() for name in ("conv", "top")])
    np.testing.assert_allclose(down(signal), deconv.mirror(again, "top")(signal), rtol=0, atol=1e-5)
    assert np.abs(down(signal) - deconv.mirror(plain, "top")(signal)).max() > 1e-2


def test_a_mirror_of_low_rank_kernels_can_be_saved_and_holds_their_values(tmp_path):
    model = small()
    low_rank(model)
    mirror, signal = deconv.mirror(model, "top"), [np.ones((1, 3), "float32")]
    mirror.save(tmp_path / "mirror.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "mirror.keras")(signal), mirror(signal), atol=1e-6)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_an_int8_model_is_asked_as_it_is_and_led_down_by_its_kernel_divided_by_its_scale():
    model = small()
    original = model.get_layer("top").kernel.numpy()
    model.quantize("int8")
    layer = model.get_layer("top")
    kernel = layer._kernel.numpy() / layer.kernel_scale.numpy()
    np.testing.assert_allclose(tf.convert_to_tensor(kernel_of(layer)), kernel, rtol=1e-6)
    assert 0 < np.abs(kernel - original).max() <= np.abs(original).max() / 127  # half a step of each channel, at most
    covered = deconv.occlusion_maps(model, PIXELS[0], 1, size=(7, 6), stride=6, exact="full")
    np.testing.assert_allclose(covered.unoccluded[0], model(PIXELS[:1])[0, 1], rtol=1e-5)
    dequantised = merged([model.get_layer("conv").kernel.numpy(), kernel])
    signal = [np.random.default_rng(2).standard_normal((2, 3)).astype("float32")]
    down = [deconv.mirror(m, "top")(signal) for m in (model, dequantised)]
    np.testing.assert_allclose(*down, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_other_quantisations_are_refused_by_name():
    model = small()
    model.quantize("float8")
    with pytest.raises(ValueError, match=r"'top' \(Dense\) is quantised to 'float8'.*before quantize"):
        deconv.mirror(model, "top")
