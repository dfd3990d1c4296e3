"""Visualise what every layer of a convolutional network responds to (Zeiler & Fergus, arXiv:1311.2901).

model = models.LeNet5(weights="mnist")
net = deconv.Deconvnet(model)
projections = net.project(images, layer="conv2", channel=7)
"""

import lazy_loader

from deconv.runtime import keras_backend

__version__ = "0.1.0"

# Names are imported on first use, so that `python -m deconv --help` does not wait for TensorFlow, which takes seconds
# to import. `__init__.pyi` lists the module of each name.
_load, __dir__, _offered = lazy_loader.attach_stub(__name__, __file__)
_PACKAGES = ("attribution", "datasets", "embedding", "features", "figures", "plotting")
__all__ = sorted(set(_offered) - set(_PACKAGES))


def __getattr__(name):
    if name not in _offered:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    keras_backend.check()
    return _load(name)
