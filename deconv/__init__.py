"""See what every layer of a convolutional network looks for (Zeiler & Fergus, arXiv:1311.2901).

model = models.LeNet5(weights="mnist")
net = deconv.Deconvnet(model)
pictures = net.project(images, layer="conv2", channel=7)
"""

import importlib

from deconv.filters import transpose_conv
from deconv.mirror import mirror
from deconv.occlusion import OcclusionMaps, occlusion_maps
from deconv.ops import max_pool_with_switches, rectify, unpool
from deconv.pixel_space import to_pixel_space
from deconv.pooling import PoolingComparison, compare_pooling, energy_kept
from deconv.projection import Deconvnet, Patches, Record
from deconv.recording import activations
from deconv.rules import RULES, identity
from deconv.scan import top_activations
from deconv.selection import select
from deconv.squares import pixel_map
from deconv.topk import TopActivations, TopK
from deconv.verify import Verification, collision_rate, verify
from deconv.windows import receptive_windows, touched_windows

__version__ = "0.1.0"

__all__ = [
    "RULES",
    "Deconvnet",
    "OcclusionMaps",
    "Patches",
    "PoolingComparison",
    "Record",
    "TopActivations",
    "TopK",
    "Verification",
    "activations",
    "collision_rate",
    "compare_pooling",
    "energy_kept",
    "identity",
    "max_pool_with_switches",
    "mirror",
    "occlusion_maps",
    "pixel_map",
    "receptive_windows",
    "rectify",
    "select",
    "to_pixel_space",
    "top_activations",
    "touched_windows",
    "transpose_conv",
    "unpool",
    "verify",
]


def __getattr__(name):
    """`deconv.datasets`, `deconv.plotting` and `deconv.figures` are loaded when they are first used."""
    if name in ("datasets", "figures", "plotting"):
        return importlib.import_module(f"deconv.{name}")
    raise AttributeError(f"module 'deconv' has no attribute {name!r}")
