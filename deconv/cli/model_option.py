"""Read the options for the model and its preprocessing: a named network, a file, or a function of the user."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deconv.cli.named_networks import NETWORKS, build_named, preprocessing_of

if TYPE_CHECKING:
    import keras

_OTHER_FILES = (".h5", ".hdf5", ".pb", ".tflite", ".onnx", ".npz", ".pth", ".pt", ".json")
_PREPROCESS = ("none", "unit", *NETWORKS)


def check_model(text: str) -> None:
    """Check that a text is the name of a network, a .keras file or `module:function`.

    Raises:
        ValueError: If it is not; a one-line message that explains what to do.
    """
    path = Path(text)
    if text in NETWORKS:
        return
    if path.suffix == ".keras":
        if not path.is_file():
            raise ValueError(f"--model: there is no file '{path}'.")
        _check_is_archive(path)
        return
    if path.suffix in _OTHER_FILES or path.exists():
        raise ValueError(
            f"--model: '{path}' is not a .keras file, the only format that Keras reads in its safe mode. If you trust "
            "it, load it in Python and save it with model.save('model.keras'), or return the model from a function of "
            "yours and give --model module:function."
        )
    if not _is_function(text):
        near = difflib.get_close_matches(text, NETWORKS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"--model must be {', '.join(NETWORKS)}, a .keras file, or module:function; received {text!r}.{hint}"
        )


def _check_is_archive(path):
    try:
        with open(path, "rb") as file:
            beginning = file.read(4)
            whole = zipfile.is_zipfile(file)
    except OSError as error:
        raise ValueError(f"--model: '{path}' cannot be read: {error.strerror}.") from error
    if beginning == b"\x89HDF":
        raise ValueError(
            f"--model: '{path}' is an HDF5 file of an older version of Keras, not a .keras file. Load it with the "
            "version that wrote it, and save it with model.save('model.keras')."
        )
    if not whole:
        raise ValueError(f"--model: '{path}' is damaged, or not a .keras file: it is not a zip archive.")


def check_preprocess(text: str | None) -> None:
    """Check that a text names a preprocessing function.

    Raises:
        ValueError: If it does not; a one-line message.
    """
    if text is not None and text not in _PREPROCESS and not _is_function(text):
        raise ValueError(f"--preprocess must be {', '.join(_PREPROCESS)}, or module:function; received {text!r}.")


def model_of(text: str, image_size: tuple[int, int] | None = None) -> tuple[keras.Model, str]:
    """The `keras.Model` for the text of an option.

    Args:
        text: As `check_model` accepts it.
        image_size: `(height, width)` for a model that leaves its input size open, or None.

    Returns:
        `(model, origin of its weights)`.

    Raises:
        ValueError: If it cannot be loaded, or does not take one image as its input.
    """
    import keras

    if text in NETWORKS:
        return build_named(NETWORKS[text]), NETWORKS[text].weights
    model = _model_from_file(Path(text)) if Path(text).suffix == ".keras" else _model_from_function(text)
    if not isinstance(model, keras.Model):
        raise ValueError(f"--model: {text} must return a keras.Model; it returns {type(model).__name__}.")
    return _with_input_size(model, image_size), text


def preprocessing(text: str | None, model: str, dtype: str = "float32") -> Callable:
    """The preprocessing function from pixel values to the inputs of a model, for arrays and tensors.

    Args:
        text: As `check_preprocess` accepts it; None for that of the named network, or for none.
        model: The text of `--model`.
        dtype: Dtype of the model's input; for an integer dtype, pixel values are rounded.
    """
    from deconv.runtime.dtypes import is_floating

    text = text or (model if model in NETWORKS else "none")
    if text in NETWORKS:
        return preprocessing_of(NETWORKS[text])
    if text == "none" and not is_floating(dtype):
        return whole_pixels
    return {"none": pixels, "unit": unit}.get(text) or _guarded(text, function_of("--preprocess", text))


def pixels(images: Any) -> Any:
    """Pixel values 0 to 255 as float32, otherwise unchanged."""
    import keras
    import numpy as np

    return keras.ops.cast(images, "float32") if keras.ops.is_tensor(images) else np.asarray(images, np.float32)


def whole_pixels(images: Any) -> Any:
    """Pixel values 0 to 255, rounded; tensors, which result from optimisation by gradients, are not rounded."""
    import keras
    import numpy as np

    return pixels(images) if keras.ops.is_tensor(images) else np.rint(pixels(images))


def unit(images: Any) -> Any:
    """Pixel values 0 to 255 as float32 from 0 to 1."""
    return pixels(images) / 255


def function_of(option: str, text: str) -> Callable:
    """Import the function `module:function`; modules of the current folder take precedence.

    Raises:
        ValueError: If it does not exist, or its module cannot be imported.
    """
    name, _, function = text.partition(":")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        with _user_code(f"{option}: the module '{name}' cannot be imported"):
            loaded = getattr(importlib.import_module(name), function, None)
    finally:
        with contextlib.suppress(ValueError):  # the module may have changed the path
            sys.path.remove(folder)
    if not callable(loaded):
        raise ValueError(f"{option}: the module '{name}' has no function '{function}'.")
    return loaded


def _guarded(text, function):
    """Wrap a function of the user so that its errors name it."""

    @functools.wraps(function)
    def run(images):
        with _user_code(f"--preprocess: {text} failed"):
            return function(images)

    return run


@contextlib.contextmanager
def _user_code(failed: str) -> Iterator[None]:
    """Context manager for code of the user; any exception is converted to a one-line error.

    Raises:
        ValueError: For every exception, including `sys.exit`, except Ctrl-C.
    """
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        message = f"it calls sys.exit({error.code!r})" if isinstance(error, SystemExit) else str(error)
        raise ValueError(f"{failed}: {type(error).__name__}: {message}") from error


def _is_function(text):
    module, _, function = text.partition(":")
    return function.isidentifier() and all(part.isidentifier() for part in module.split("."))


def _model_from_function(text):
    function = function_of("--model", text)
    with _user_code(f"--model: {text} failed"):
        return function()


def _model_from_file(path):
    import keras

    from models.loading import keras_file

    importlib.import_module("models.layers")  # registers its classes, which a saved AlexNet needs
    try:
        keras_file.check(path)
    except Exception as error:  # HDF5 and zipfile raise many types of exceptions
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(f"--model: '{path}' cannot be loaded: {reason.rstrip('.')}.") from error
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many types of exceptions
        raise ValueError(f"--model: '{path}' cannot be loaded: {_load_error(path, error)}") from error


def _load_error(path, error):
    """The reason for which Keras could not load a file, in one or two sentences, with a way out."""
    reason = " ".join(str(error).split()) or type(error).__name__
    reason = reason.rpartition("Exception encountered: ")[2]  # advice and the whole configuration precede it
    if "Example error message for object" in reason:  # their number precedes it, their list follows
        reason = reason.partition("Example error message for object")[2].partition("List of objects")[0].strip()
    if "Requested the deserialization of" in reason and "lambda" in reason.lower():
        return (
            "it contains a Lambda layer, which is Python code that Keras's safe mode does not run. Replace it by a "
            "registered layer, or build the model in a function, and give --model module:function."
        )
    unknown = re.search(r"Could not locate class '?([\w.>]+)|Could not deserialize '([\w.>]+)'", reason)
    if unknown is not None:
        name = (unknown[1] or unknown[2].rpartition(".")[2]).rstrip(".")
        reason = f"its layer class '{name}' is unknown. Load it in a function of yours that imports the class"
    else:
        end = "…" if len(reason) > 300 else "."
        reason = f"{reason[:300].rstrip('. ')}{end} If it needs code of yours, build it in a function"
    return f"{reason}, and give --model module:function.{_newer_keras(path)}"


def _newer_keras(path):
    """A sentence for files written by a newer version of Keras; empty for any other."""
    import keras

    from models.loading import keras_file

    theirs = keras_file.version(path)
    numbers, ours = (tuple(map(int, re.findall(r"\d+", text)[:2])) for text in (theirs, keras.__version__))
    return f" It was saved by Keras {theirs}, newer than the installed {keras.__version__}." if numbers > ours else ""


def _with_input_size(model, image_size):
    """A model with a fixed input size: the model itself, or a copy of that size."""
    import keras
    import numpy as np

    try:
        shape = model.input_shape
    except (AttributeError, ValueError):  # not built, or a subclassed model
        shape = None
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] not in (1, 3):
        raise ValueError(
            f"--model: '{model.name}' must be a functional or Sequential model of one image, with 1 or 3 channels in "
            f"the last axis; {f'its input has shape {shape}' if shape else 'its input shape is not defined'}."
        )
    for weight in model.weights:
        if "float" in str(weight.dtype) and not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise ValueError(
                f"--model: weight '{weight.path}' of model '{model.name}' contains NaN or infinity. "
                "Use weights from before the training diverged."
            )
    if image_size is None and None in shape[1:3]:
        raise ValueError(
            f"Model '{model.name}' does not define its input size: {shape[1:]}. Give --image-size HEIGHTxWIDTH."
        )
    if image_size is None or shape[1:3] == image_size:
        return model
    if any(side not in (None, wanted) for side, wanted in zip(shape[1:3], image_size, strict=True)):
        raise ValueError(f"--image-size: model '{model.name}' takes images of {shape[1]}x{shape[2]} only.")
    entry = keras.Input((*image_size, shape[3]), dtype=model.inputs[0].dtype)
    is_sequential = isinstance(model, keras.Sequential)  # other models need the structure of their input
    inputs = [entry] if is_sequential else keras.tree.map_structure(lambda _: entry, model.input)
    sized = keras.models.clone_model(model, input_tensors=inputs)
    sized.set_weights(model.get_weights())
    return sized
