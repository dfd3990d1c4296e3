"""Weights trained on ImageNet: downloaded once, converted, and cached in Keras's folder.

They are not published in a format that Keras reads. Only the converted file is kept; the download is removed.
"""

import errno
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from models import convert
from models.loading import weight_cache
from models.loading.digests import digest_of
from models.loading.resumable_download import declared_size, fetch


class Source(NamedTuple):
    """A published file of weights.

    Attributes:
        file: Its name.
        urls: Its addresses, the most reliable first.
        size: In bytes; None if it is not known.
        sha256: In hexadecimal digits; None if only `sha1` is known.
        sha1: SHA-1 of the only `.h5` file in an archive, in hexadecimal digits.
    """

    file: str
    urls: tuple[str, ...]
    size: int | None
    sha256: str | None
    sha1: str = ""

    @property
    def digest(self) -> str:
        """The hash of the weights."""
        return self.sha256 or self.sha1


def _model_zoo(path: str) -> tuple[str, ...]:
    """Addresses of a file of the ONNX Model Zoo at Hugging Face; GitHub was to end its downloads in July 2025."""
    return (
        f"https://huggingface.co/onnxmodelzoo/legacy_models/resolve/main/validated/vision/classification/{path}",
        f"https://media.githubusercontent.com/media/onnx/models/main/validated/vision/classification/{path}",
    )


def _imgclsmob(name: str, release: str, sha1: str) -> Source:
    """A network of imgclsmob (MIT), whose file name contains its top-1 error and the hash of the unzipped file."""
    file = f"{name}-{sha1[:8]}.tf2.h5.zip"
    return Source(file, (f"https://github.com/osmr/imgclsmob/releases/download/{release}/{file}",), None, None, sha1)


SOURCES = {
    "alexnet": Source(  # BSD-3-Clause
        "bvlcalexnet-12.onnx",
        _model_zoo("alexnet/model/bvlcalexnet-12.onnx"),
        243_863_787,
        "6b0da9510f27f234ee96a85dc3809dd210150fdefad87f6850f9788513216945",
    ),
    "alexnet_owt": Source(  # BSD-3-Clause
        "alexnet-owt-7be5be79.pth",
        ("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",),
        244_408_911,
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    ),
    "zfnet512": Source(  # MIT
        "zfnet512-12.onnx",
        _model_zoo("zfnet-512/model/zfnet512-12.onnx"),
        349_005_501,
        "c975ca6a24c0a2e1584c6f82667e0ac9c06084fc7769d267f71b4a154d1f1c72",
    ),
    "alexnet_imgclsmob": _imgclsmob("alexnet-1609", "v0.0.481", "8ae4618efdb64d4b2b74fc4346ff917b3d51e3b2"),
    "zfnet_imgclsmob": _imgclsmob("zfnet-1717", "v0.0.422", "9500db3008e9ca8bc8f8de8101ec760e5ac8c05a"),
    "zfnetb_imgclsmob": _imgclsmob("zfnetb-1480", "v0.0.422", "47533f6a367312c8b2f56202aeae0be366013116"),
}


def imagenet_weights(network: str, source: Source | None = None, progress: bool = True) -> Path:
    """The file of ImageNet weights for a network: cached, or downloaded and converted.

    A cached file needs neither network nor `onnx`. The data of an interrupted download are kept, and the
    download is resumed. If several processes call this at the same time, one of them downloads.

    Args:
        network: A key of `SOURCES`.
        source: A `Source` to use instead of the published one.
        progress: Whether to show a progress bar.

    Returns:
        `Path` of a `.npz` for `models.loading.weight_files.load`, in `$KERAS_HOME/models`, by default
        `~/.keras/models`.

    Raises:
        ImportError: If the download needs `onnx`, and it is not installed. Nothing is downloaded then.
        ConnectionError: If the file could not be downloaded completely.
        ValueError: If the network is unknown, or the download is not the published file.
        OSError: If the cache cannot be written, or the disk is full.
    """
    if network not in SOURCES:
        raise ValueError(f"There are no ImageNet weights for {network!r}: expected one of {', '.join(SOURCES)}.")
    source = source or SOURCES[network]
    path = weight_cache.cache_folder() / f"deconvnet_{network}_imagenet.npz"
    note = convert.note_of(network, source.digest)
    if not weight_cache.is_complete(path, note):
        convert.require_reader(source.file)

    def make() -> None:
        _download(path, network, source, progress)

    return weight_cache.cached(path, note, source.file, make, _by_hand(path, source))


def _download(path: Path, network: str, source: Source, progress: bool) -> None:
    """Download and convert the weights, if there is enough disk space for all files."""
    download = path.with_name(f"{source.file}.partial")
    present = download.stat().st_size if download.exists() else 0
    size = declared_size(source.urls) if source.size is None else source.size
    copies = 1 if source.sha1 == "" else 2  # the unzipped and the converted file are about as large
    needed, free = size - present + copies * size, shutil.disk_usage(path.parent).free
    if free < needed:
        space = f"{needed / 2**20:,.0f} MiB are needed, {free / 2**20:,.0f} MiB are free"
        raise OSError(errno.ENOSPC, f"the disk is too full: {space}")
    fetch(source.urls, download, size, source.sha256, progress)
    if source.sha1:
        _convert_archive(download, path, network, source)
    else:
        convert.save(convert.convert(download, network), path)
    download.unlink()


def _convert_archive(download: Path, path: Path, network: str, source: Source) -> None:
    """Unzip, check and convert the weights in an archive; an archive of others is removed."""
    with tempfile.TemporaryDirectory(prefix=".unzipped-", dir=path.parent) as folder:
        try:
            weights = convert.unzipped(download, Path(folder))
            received = digest_of(weights, "sha1")
            if received != source.sha1:
                raise ValueError(
                    f"The downloaded file is not the published one: the SHA-1 of its weights is {received}, expected "
                    f"{source.sha1}. The file was removed; the next call downloads it from the beginning."
                )
        except ValueError:
            download.unlink()
            raise
        convert.save(convert.convert(weights, network), path, digest=source.sha1)


def _by_hand(path: Path, source: Source) -> str:
    """How to obtain the weights without the download."""
    size = "" if source.size is None else f" ({source.size:,} bytes)"
    return (
        f"Alternatively download {source.file}{size} by other means, and run "
        f"python scripts/convert_weights.py {source.file} '{path}'"
    )
