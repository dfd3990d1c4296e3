"""Checks that packages which only some functions need are installed."""

import importlib


def require_sklearn(feature: str, *modules: str) -> None:
    """Check that modules of scikit-learn can be imported.

    Args:
        feature: Description, in the plural, of the feature that needs them: "Embeddings".
        modules: Their names.

    Raises:
        ImportError: If not; the message says how to install it.
    """
    try:
        for module in modules:
            importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{feature} need scikit-learn, which is not installed. "
            'Install it with: pip install "deconvnet[probes]", or in a clone: pip install ".[probes]"'
        ) from error
