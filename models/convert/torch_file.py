"""Weights in a PyTorch file."""

import re

_OLDEST = (2, 6)  # in older ones `weights_only` can be tricked into running code (CVE-2025-32434)


def require():
    """See that a PyTorch is there that can be trusted with a stranger's file.

    Raises:
        ImportError: If it is not, saying how to install it.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ImportError(
            "A PyTorch file is read with the package torch, which is not installed. Install it with: pip install torch"
        ) from error
    if tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2]) < _OLDEST:
        raise ImportError(
            f"A PyTorch file is read with torch 2.6 or newer, older ones can be made to run code in it; installed is "
            f"{torch.__version__}. Install a newer one with: pip install --upgrade torch"
        )


def read(path):
    """The weights of a PyTorch file that holds a `state_dict`.

    Args:
        path: The file.

    Returns:
        `({name: array}, None)`: the tensors that hold floating-point numbers, kernels of dense layers as (out, in).
        The file does not say in which order its layers come.

    Raises:
        ImportError: If `torch` is not installed, or too old.
        ValueError: If the file is no PyTorch file, or holds anything but tensors. Nothing in it is executed.
    """
    require()
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each have their own for a damaged or a hostile file
        raise ValueError(
            f"'{path}' is no PyTorch file of weights, is damaged, or holds Python objects, which are never loaded. "
            "Expected is what torch.save(model.state_dict(), path) writes."
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"'{path}' holds a {type(state).__name__}: expected a state_dict, names and their tensors.")
    return {
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
        for name, tensor in state.items()
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor.layout == torch.strided
    }, None
