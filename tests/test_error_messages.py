"""The line of an error that says what is wrong, in the texts that TensorFlow and Keras really write."""

import keras
import pytest
import tensorflow as tf

from deconv.graph.compilation import compile_function
from deconv.runtime.error_messages import reason

SAID = "Determinism is not yet supported for MaxPoolGradWithArgmax."

TEXTS = {
    "a graph, old": "Graph execution error:\n\nDetected at node 'pool/Argmax' defined at (most recent call "
    'last):\n    File "/usr/lib/python3.11/runpy.py", line 196, in _run_module_as_main\n      return _run_code(code)\n'
    '    File "/deconv/ops/pooling.py", line 141, in scatter\n      maps = tf.raw_ops.MaxPoolGradWithArgmax(\n'
    f"Node: 'pool/MaxPoolGradWithArgmax'\n{SAID}\n\t [[{{{{node pool/MaxPoolGradWithArgmax}}}}]] "
    "[Op:__inference_call_12]",
    "a graph, new": "Graph execution error:\n\nDetected at node mirror_1/pool/Argmax defined at "
    f"(most recent call last):\n<stack traces unavailable>\n{SAID}\n\t [[{{{{node mirror_1/pool/"
    "Argmax}}]] [Op:__inference_<lambda>_712]",
    "two roots": "Graph execution error:\n\nDetected at node a/b defined at (most recent call last):\n"
    "<stack traces unavailable>\nDetected at node a/c defined at (most recent call last):\n<stack traces unavailable>\n"
    f"2 root error(s) found.\n  (0) UNIMPLEMENTED:  {SAID}\n\t [[{{{{node a/b}}}}]]\n\t [[a/d/_12]]\n"
    f"  (1) UNIMPLEMENTED:  {SAID}\n\t [[{{{{node a/c}}}}]]\n0 successful operations.\n0 derived errors ignored. "
    "[Op:__inference_f_1]",
    "a layer": f"Exception encountered when calling Unpool.call().\n\n\x1b[1m{SAID}\x1b[0m\n\nArguments received by "
    "Unpool.call():\n  • inputs=['tf.Tensor(shape=(1, 2, 2, 1), dtype=float32)']",
    "a layer around a kernel": "Exception encountered when calling Unpool.call().\n\n\x1b[1m{{function_node __wrapped__"
    f"MaxPoolGradWithArgmax_device_/device:GPU:0}}}} {SAID} [Op:MaxPoolGradWithArgmax]\x1b[0m\n\nArguments",
    "a kernel": "{{function_node __wrapped__MaxPoolGradWithArgmax_device_/job:localhost/task:0/device:GPU:0}} "
    f"{SAID} [Op:MaxPoolGradWithArgmax] name: ",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_line_that_says_something_is_found(text):
    assert reason(tf.errors.UnimplementedError(None, None, text)) == SAID
    assert reason(ValueError(text)) == SAID


def test_it_is_found_in_what_this_tensorflow_and_this_keras_raise():
    @tf.function
    def divided(values):
        return tf.debugging.check_numerics(values / 0.0, "the quotient")

    class Broken(keras.layers.Layer):
        def call(self, values):
            return divided(values)

    for call in (divided, Broken()):
        with pytest.raises(tf.errors.InvalidArgumentError) as raised:
            call(tf.ones(2))
        assert "\n" in str(raised.value)
        assert reason(raised.value) == "the quotient : Tensor had Inf values"
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        tf.matmul(tf.ones((2, 3)), tf.ones((2, 3)))
    assert reason(raised.value).startswith("Matrix size-incompatible: In[0]: [2,3], In[1]: [2,3]")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("plain"), "plain"),
        (ValueError("\n\n  second line \nthird"), "second line"),
        (ValueError(), "ValueError"),
        (OSError(2, "No such file"), "[Errno 2] No such file"),
        (tf.errors.OpError(None, None, "Graph execution error:\n\n", 2), "OpError"),
        (KeyError("conv1"), "'conv1'"),
    ],
)
def test_other_errors_are_told_by_their_first_line_or_their_type(error, expected):
    assert reason(error) == expected


def test_an_error_inside_a_compiled_function_is_told_without_what_stands_around_it():
    class Refusing(keras.layers.Layer):
        def call(self, maps):
            raise ValueError("A name of TensorFlow's must begin with a letter.")

    def refusing(maps):
        raise ValueError("Layer 'a' has no rule.\nGive one.")

    spec = tf.TensorSpec((2,), "float32")
    with pytest.raises(ValueError, match=r"^A name of TensorFlow's must begin with a letter\.$"):
        compile_function(lambda maps: Refusing()(maps), spec)
    with pytest.raises(ValueError, match=r"^Layer 'a' has no rule\.\nGive one\.$"):
        compile_function(refusing, spec)
