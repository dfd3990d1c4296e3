"""See what every layer of a convolutional network looks for (Zeiler & Fergus, arXiv:1311.2901).

model = models.LeNet5(weights="mnist")
net = deconv.Deconvnet(model)
pictures = net.project(images, layer="conv2", channel=7)
"""

import importlib

from deconv.correspondence import Correspondence, correspondence
from deconv.evolution import FeatureEvolution
from deconv.filters import transpose_conv
from deconv.health import LayerHealth, health
from deconv.invariance import Invariance, invariance
from deconv.masks import random_masks
from deconv.mirror import mirror
from deconv.occlusion import OcclusionMaps, occlusion_maps
from deconv.ops import max_pool_with_switches, rectify, unpool
from deconv.pixel_space import to_pixel_space
from deconv.pooling import PoolingComparison, compare_pooling, energy_kept
from deconv.probes import Probes, probe
from deconv.projection import Deconvnet, Patches, Record
from deconv.recording import activations
from deconv.rules import RULES, identity
from deconv.scan import top_activations
from deconv.selection import select
from deconv.settling import Evolution, Settling, settling
from deconv.squares import pixel_map
from deconv.topk import TopActivations, TopK
from deconv.transfer import Transfer, transfer
from deconv.transforms import transform
from deconv.verify import Verification, collision_rate, verify
from deconv.windows import receptive_windows, touched_windows

__version__ = "0.1.0"

__all__ = [
    "RULES",
    "Correspondence",
    "Deconvnet",
    "Evolution",
    "FeatureEvolution",
    "Invariance",
    "LayerHealth",
    "OcclusionMaps",
    "Patches",
    "PoolingComparison",
    "Probes",
    "Record",
    "Settling",
    "TopActivations",
    "TopK",
    "Transfer",
    "Verification",
    "activations",
    "collision_rate",
    "compare_pooling",
    "correspondence",
    "energy_kept",
    "health",
    "identity",
    "invariance",
    "max_pool_with_switches",
    "mirror",
    "occlusion_maps",
    "pixel_map",
    "probe",
    "random_masks",
    "receptive_windows",
    "rectify",
    "select",
    "settling",
    "to_pixel_space",
    "top_activations",
    "touched_windows",
    "transfer",
    "transform",
    "transpose_conv",
    "unpool",
    "verify",
]


def __getattr__(name):
    """`deconv.datasets`, `deconv.plotting` and `deconv.figures` are loaded when they are first used."""
    if name in ("datasets", "figures", "plotting"):
        return importlib.import_module(f"deconv.{name}")
    raise AttributeError(f"module 'deconv' has no attribute {name!r}")
