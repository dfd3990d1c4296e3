"""Packages that only some functions need, and how to get them."""

import importlib


def check_sklearn(what, *modules):
    """That modules of scikit-learn are there.

    Args:
        what: What is scikit-learn's, in words: "Embeddings".
        modules: Their names.

    Raises:
        ImportError: If not; it says how to install it.
    """
    try:
        for module in modules:
            importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{what} are scikit-learn's, which is not installed. "
            'Install it with: pip install "deconvnet[probes]", or in a clone: pip install ".[probes]"'
        ) from error
