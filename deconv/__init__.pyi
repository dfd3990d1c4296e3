# What the package offers, for editors, type checkers and `deconv/__init__.py`, which loads a name when it is used.
from .deconvnet.mirror import mirror
from .deconvnet.projection import Deconvnet, Patches, Record
from .deconvnet.recording import activations
from .deconvnet.rule_lookup import pass_activation
from .deconvnet.rules import RULES, identity
from .deconvnet.selection import select
from .deconvnet.verification import Verification, collision_rate, verify
from .diagnostics.feature_maps import FeatureMaps, feature_maps
from .diagnostics.invariance import Invariance, invariance
from .diagnostics.layer_health import LayerHealth, health
from .diagnostics.pooling_comparison import PoolingComparison, compare_pooling, energy_kept
from .embedding.class_separation import Separation, separation
from .embedding.cluster_tops import ClusterTops, cluster_tops
from .embedding.image_embedding import Embedding, embed
from .embedding.unit_embedding import UnitEmbedding, embed_units
from .evaluation.cascading_randomization import Cascade, cascade
from .evaluation.deletion_insertion import Curves, perturbation_curves
from .evaluation.method_comparison import Explanation, explain
from .evaluation.switch_controls import Controls, controls
from .evolution.callback import FeatureEvolution
from .evolution.convergence import Evolution, Settling, settling
from .features import Inversion, StyleTransfer, Visualization, dream, invert, transfer_style, visualize
from .graph.receptive_field import receptive_windows, touched_windows
from .imaging.affine_transforms import transform
from .imaging.pixel_space import to_pixel_space
from .occlusion.correspondence import Correspondence, correspondence
from .occlusion.part_masks import random_masks
from .occlusion.sensitivity import OcclusionMaps, occlusion_maps
from .occlusion.sliding_window import pixel_map
from .ops.convolution import transpose_conv
from .ops.pooling import max_pool_with_switches, rectify, unpool
from .probing.linear_probes import Probes, probe
from .probing.transfer_learning import Transfer, transfer
from .topk.scan import top_activations
from .topk.state import TopActivations, TopK

__version__: str
__all__: list[str] = [
    "RULES",
    "Cascade",
    "ClusterTops",
    "Controls",
    "Correspondence",
    "Curves",
    "Deconvnet",
    "Embedding",
    "Evolution",
    "Explanation",
    "FeatureEvolution",
    "FeatureMaps",
    "Invariance",
    "Inversion",
    "LayerHealth",
    "OcclusionMaps",
    "Patches",
    "PoolingComparison",
    "Probes",
    "Record",
    "Separation",
    "Settling",
    "StyleTransfer",
    "TopActivations",
    "TopK",
    "Transfer",
    "UnitEmbedding",
    "Verification",
    "Visualization",
    "activations",
    "cascade",
    "cluster_tops",
    "collision_rate",
    "compare_pooling",
    "controls",
    "correspondence",
    "dream",
    "embed",
    "embed_units",
    "energy_kept",
    "explain",
    "feature_maps",
    "health",
    "identity",
    "invariance",
    "invert",
    "max_pool_with_switches",
    "mirror",
    "occlusion_maps",
    "pass_activation",
    "perturbation_curves",
    "pixel_map",
    "probe",
    "random_masks",
    "receptive_windows",
    "rectify",
    "select",
    "separation",
    "settling",
    "to_pixel_space",
    "top_activations",
    "touched_windows",
    "transfer",
    "transfer_style",
    "transform",
    "transpose_conv",
    "unpool",
    "verify",
    "visualize",
]
