"""Read weights from a PyTorch file."""

from __future__ import annotations

import functools
import os
import re
import zipfile
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from models.loading.declared_arrays import Stored, check_expansion, plain

if TYPE_CHECKING:
    import torch

_OLDEST = (2, 6)  # in older ones `weights_only` can be tricked into running code (CVE-2025-32434)
_NOT_WEIGHTS = (
    "'{}' is not a PyTorch file of weights, is damaged, or holds Python objects, which are never loaded. Expected a "
    "file written by torch.save(model.state_dict(), path)."
)


def require() -> None:
    """Check that PyTorch is installed, in a version that reads untrusted files safely.

    Raises:
        ImportError: If it is not; the message says how to install it.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ImportError(
            "Reading a PyTorch file needs the package torch, which is not installed. Install it with: pip install torch"
        ) from error
    if tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2]) < _OLDEST:
        raise ImportError(
            "Reading a PyTorch file needs torch 2.6 or newer, since older versions can execute code in the file; the "
            f"installed version is {torch.__version__}. Upgrade it with: pip install --upgrade torch"
        )


def read(path: str | os.PathLike) -> tuple[dict[str, Stored], None]:
    """The weights of a PyTorch file that holds a `state_dict`.

    Args:
        path: The file.

    Returns:
        `({name: Stored}, None)`: its tensors, kernels of dense layers as (out, in). None stands for the order of the
        layers, which the file does not contain. `Stored.read` raises ValueError if the data are not floating-point
        numbers, or are a few numbers expanded many times.

    Raises:
        ImportError: If `torch` is not installed, or too old.
        ValueError: If the file is not a PyTorch file, or contains anything but tensors. No code in it is executed.
    """
    require()
    import torch

    _check_archive(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch raise different types
        raise ValueError(_NOT_WEIGHTS.format(path)) from error
    if not isinstance(state, dict):
        raise ValueError(f"'{path}' holds a {type(state).__name__}: expected a state_dict, a dict of tensors by name.")
    tensors = {name: tensor for name, tensor in state.items() if isinstance(name, str)}
    return {name: _stored(name, tensor) for name, tensor in tensors.items() if isinstance(tensor, torch.Tensor)}, None


def _check_archive(path: str | os.PathLike) -> None:
    """Reject compressed archives, which torch would decompress without limit; it never writes them itself."""
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            return  # a pickle
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except Exception as error:  # zipfile raises many types for damaged archives
            raise ValueError(_NOT_WEIGHTS.format(path)) from error
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(
                f"'{path}' is not a PyTorch file of weights: its member '{plain(member.filename)}' is compressed. "
                "Expected a file written by torch.save(model.state_dict(), path)."
            )


def _stored(name: str, tensor: torch.Tensor) -> Stored:
    """Properties of a tensor; its values are checked and converted only when read."""
    is_plain = tensor.layout is _torch().strided and tensor.device.type == "cpu" and not tensor.is_quantized
    on_disk = tensor.untyped_storage().nbytes() if is_plain else 0
    return Stored(
        name=name,
        shape=tuple(tensor.shape),
        dtype=np.dtype(np.float32),
        on_disk=on_disk,
        read=functools.partial(_read, tensor, is_plain, on_disk),
    )


def _read(tensor: torch.Tensor, is_plain: bool, on_disk: int) -> np.ndarray:
    torch = _torch()
    if not is_plain:
        kind = "quantized" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")
        kind = "without values (a meta tensor)" if tensor.device.type == "meta" else kind
        raise ValueError(f"is {kind}, which is not supported. Save it as a dense tensor")
    if tensor.dtype not in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        kind = str(tensor.dtype).removeprefix("torch.")
        raise ValueError(f"is of the type {kind}: expected float32, float64, float16 or bfloat16. Save it as float32")
    check_expansion("it", tensor.numel() * 4, on_disk)
    tensor = tensor.detach().resolve_conj().resolve_neg()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _torch() -> ModuleType:
    import torch

    return torch
