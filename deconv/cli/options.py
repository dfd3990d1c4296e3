"""Options and error handling of all sub-commands. Loads no TensorFlow, so that mistakes are reported at once."""

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer

from deconv.cli import images_option, model_option, output
from deconv.runtime import keras_backend


class Request(NamedTuple):
    """The options common to all sub-commands."""

    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="A named network: lenet5, alexnet, zfnet (weights included); alexnet-imagenet, vgg16, "
            "efficientnet-lite0 (weights from the package index); alexnet_owt, zfnet512, zfnet-imagenet (weights "
            "downloaded); a .keras file, read in Keras's safe mode; or module:function in the current folder, which "
            "returns a keras.Model.",
        ),
    ] = "lenet5"
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            "--dataset",
            metavar="IMAGES",
            help="mnist-5k, imagenet-20, digits-8x8 (no network needed), mnist, imagenette, imagenet, tfds:NAME, a "
            "folder, or one image file [default: the data set of the named network].",
        ),
    ] = None
    split: Annotated[
        str | None,
        typer.Option(help="Part of the images: train, test or all [default: all; test for data sets of TFDS]."),
    ] = None
    preprocess: Annotated[
        str | None,
        typer.Option(
            help="Preprocessing of pixel values (0 to 255) for the model: none, unit (division by 255), the name of a "
            "network for its preprocessing, or module:function [default: that of the named network, else none].",
        ),
    ] = None
    image_size: Annotated[
        str | None, typer.Option(metavar="HEIGHTxWIDTH", help="Input size of a model that does not define it.")
    ] = None
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the data sets of TFDS.")] = None
    download: Annotated[bool, typer.Option("--download", help="Let TFDS download missing data sets.")] = False
    out: Annotated[Path, typer.Option(help="Output folder; created if it does not exist.")] = Path("pictures")
    seed: Annotated[int, typer.Option(help="Seed of all random choices.")] = 0

    def check(self) -> None:
        """Check the options as far as possible without loading anything."""
        check("--model", repr(self.model), self.model.strip(), "a network, a file or module:function")
        named = self.images is None or self.images.strip()
        check("--images", repr(self.images), named, "a data set, a folder or an image file")
        check("--seed", self.seed, 0 <= self.seed < 2**32 - 2, "at least 0 and below 2**32 - 2")
        check("--split", self.split, self.split in (None, "train", "test", "all"), "train, test or all")
        sides(self.image_size)
        keras_backend.check()
        model_option.check_model(self.model)
        model_option.check_preprocess(self.preprocess)
        images_option.check_images(self.images)


Layer = Annotated[
    str | None, typer.Option(help="Name of a layer; an unknown name lists all [default: the last convolution].")
]
Layers = Annotated[list[str] | None, typer.Option("--layer", help="Name of a layer; may be repeated.")]
Channels = Annotated[
    list[str] | None,
    typer.Option("--channel", metavar="NUMBERS", help="Channels, for example 7, 0-5 or 0-5,9; may be repeated."),
]
BatchSize = Annotated[
    int | None,
    typer.Option(help="Number of images computed at a time; fewer need less memory."),
]
Target = Annotated[str | None, typer.Option(help="Class, by number or name [default: the predicted class].")]


def command(function: Callable) -> Callable:
    """Decorate a function as a sub-command that has the options of `Request` in addition to its own.

    The function is called with a checked `Request` and its own options, which it checks itself. It returns a
    `figures.Subject` and an iterable of the `Picture`s to write; or None if it has written them itself. Its errors are
    reported in one line, and unfinished files are removed.
    """
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(function).parameters.values()
    ]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint, default=default)
        for (name, hint), default in zip(
            get_type_hints(Request, include_extras=True).items(), Request._field_defaults.values(), strict=True
        )
    ]

    @functools.wraps(function)
    def run(**given):
        request = Request(**{name: given.pop(name) for name in Request._fields})
        with output.reporting_errors(request.out):
            request.check()
            result = function(request, **given)
            if result is not None:
                output.write(*result, request.out, {"command": run.__name__, **request._asdict(), **given})

    parameters = [*shared[:2], *own[1:], *shared[2:]]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def batches(size: int | None) -> dict[str, int]:
    """`{"batch_size": size}` as keyword arguments; empty for None, so that the default of the callee applies.

    Raises:
        ValueError: If it is not a valid size.
    """
    check("--batch-size", size, size is None or size >= 1, "at least 1")
    return {} if size is None else {"batch_size": size}


def check(option: str, value: Any, holds: Any, expected: str) -> None:
    """Check the value of an option.

    Raises:
        ValueError: If `holds` is False; a one-line message.
    """
    if not holds:
        raise ValueError(f"{option} must be {expected}; received {value}.")


def numbers(option: str, texts: Sequence[str] | None) -> list[int] | None:
    """Whole numbers from texts such as `"7"`, `"0-5"` and `"0-5,9"`, in their order, without repeats; None for None.

    Raises:
        ValueError: If a text has another form.
    """
    values: list[int] = []
    for part in ",".join(texts or ()).split(",") if texts else ():
        first, dash, last = part.strip().partition("-")
        holds = first.isdecimal() and (last.isdecimal() and int(first) <= int(last) < 1_000_000 if dash else True)
        check(option, repr(part), holds, "whole numbers and ranges, for example 7, 0-5 or 0-5,9")
        values += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(values)) or None


def sides(text: str | None) -> tuple[int, int] | None:
    """`(height, width)` from `"224"` or `"224x320"`; None for None.

    Raises:
        ValueError: If it has another form.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    holds = len(parts) <= 2 and all(part.isdecimal() and int(part) for part in parts)
    check("--image-size", repr(text), holds, "a side, for example 224, or HEIGHTxWIDTH, for example 224x320")
    return int(parts[0]), int(parts[-1])
