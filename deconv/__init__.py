"""See what every layer of a convolutional network looks for (Zeiler & Fergus, arXiv:1311.2901).

model = models.LeNet5(weights="mnist")
net = deconv.Deconvnet(model)
pictures = net.project(images, layer="conv2", channel=7)
"""

import importlib
import sys
import types

from deconv import keras_backend

__version__ = "0.1.0"

_OFFERED = {
    "cascade": "Cascade cascade",
    "cluster_tops": "ClusterTops cluster_tops",
    "controls": "Controls controls",
    "correspondence": "Correspondence correspondence",
    "curves": "Curves perturbation_curves",
    "embedding": "Embedding embed",
    "evolution": "FeatureEvolution",
    "explain": "Explanation explain",
    "feature_maps": "FeatureMaps feature_maps",
    "features": "Inversion StyleTransfer Visualization dream invert transfer_style visualize",
    "filters": "transpose_conv",
    "health": "LayerHealth health",
    "invariance": "Invariance invariance",
    "masks": "random_masks",
    "mirror": "mirror",
    "occlusion": "OcclusionMaps occlusion_maps",
    "ops": "max_pool_with_switches rectify unpool",
    "pixel_space": "to_pixel_space",
    "pooling": "PoolingComparison compare_pooling energy_kept",
    "probes": "Probes probe",
    "projection": "Deconvnet Patches Record",
    "recording": "activations",
    "rule_lookup": "pass_activation",
    "rules": "RULES identity",
    "scan": "top_activations",
    "selection": "select",
    "separation": "Separation separation",
    "settling": "Evolution Settling settling",
    "squares": "pixel_map",
    "topk": "TopActivations TopK",
    "transfer": "Transfer transfer",
    "transforms": "transform",
    "unit_embedding": "UnitEmbedding embed_units",
    "verify": "Verification collision_rate verify",
    "windows": "receptive_windows touched_windows",
}
"""What the package offers, by the module that holds it. A module is loaded when one of its names is first used, so that
`python -m deconv --help` answers before TensorFlow has taken its seconds."""

_HOME_OF = {name: home for home, names in _OFFERED.items() for name in names.split()}
_PARTS = ("attribution", "datasets", "embedding", "features", "figures", "plotting")

__all__ = sorted(_HOME_OF)


class _Package(types.ModuleType):
    """The package: `deconv.mirror` is the function, also after something has loaded the module `deconv/mirror.py`."""

    def __setattr__(self, name, value):
        if name not in _HOME_OF or not isinstance(value, types.ModuleType):
            super().__setattr__(name, value)

    def __getattr__(self, name):
        if name in (*_HOME_OF, *_PARTS):
            keras_backend.check()
        if name in _HOME_OF:
            value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
            setattr(self, name, value)
            return value
        if not name.startswith("_"):
            try:
                return importlib.import_module(f"{__name__}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{__name__}.{name}":
                    raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__(self):
        return sorted({*super().__dir__(), *__all__, *_PARTS})


sys.modules[__name__].__class__ = _Package
