# What the package offers, for editors, type checkers and `deconv/__init__.py`, which loads a name when it is used.
from . import attribution as attribution
from . import datasets as datasets
from . import embedding as embedding
from . import features as features
from . import figures as figures
from . import plotting as plotting
from .deconvnet.layer_deconvnet import Record as Record
from .deconvnet.mirror import mirror as mirror
from .deconvnet.projection import Deconvnet as Deconvnet
from .deconvnet.projection import Patches as Patches
from .deconvnet.recording import activations as activations
from .deconvnet.rule_lookup import pass_activation as pass_activation
from .deconvnet.rules import RULES as RULES
from .deconvnet.rules import identity as identity
from .deconvnet.selection import select as select
from .deconvnet.verification import collision_rate as collision_rate
from .deconvnet.verification import verify as verify
from .deconvnet.verification_result import Verification as Verification
from .diagnostics.feature_maps import FeatureMaps as FeatureMaps
from .diagnostics.feature_maps import feature_maps as feature_maps
from .diagnostics.invariance import Invariance as Invariance
from .diagnostics.invariance import invariance as invariance
from .diagnostics.layer_health import LayerHealth as LayerHealth
from .diagnostics.layer_health import health as health
from .diagnostics.pooling_comparison import PoolingComparison as PoolingComparison
from .diagnostics.pooling_comparison import compare_pooling as compare_pooling
from .diagnostics.pooling_comparison import energy_kept as energy_kept
from .embedding.class_separation import Separation as Separation
from .embedding.class_separation import separation as separation
from .embedding.cluster_tops import ClusterTops as ClusterTops
from .embedding.cluster_tops import cluster_tops as cluster_tops
from .embedding.image_embedding import Embedding as Embedding
from .embedding.image_embedding import embed as embed
from .embedding.unit_embedding import UnitEmbedding as UnitEmbedding
from .embedding.unit_embedding import embed_units as embed_units
from .evaluation.cascading_randomization import Cascade as Cascade
from .evaluation.cascading_randomization import cascade as cascade
from .evaluation.deletion_insertion import Curves as Curves
from .evaluation.deletion_insertion import perturbation_curves as perturbation_curves
from .evaluation.method_comparison import Explanation as Explanation
from .evaluation.method_comparison import explain as explain
from .evaluation.switch_controls import Controls as Controls
from .evaluation.switch_controls import controls as controls
from .evolution.callback import FeatureEvolution as FeatureEvolution
from .evolution.convergence import Evolution as Evolution
from .evolution.convergence import Settling as Settling
from .evolution.convergence import settling as settling
from .explorer.site import explore as explore
from .features import Inversion as Inversion
from .features import StyleTransfer as StyleTransfer
from .features import Visualization as Visualization
from .features import dream as dream
from .features import invert as invert
from .features import transfer_style as transfer_style
from .features import visualize as visualize
from .graph.receptive_field import receptive_windows as receptive_windows
from .graph.receptive_field import touched_windows as touched_windows
from .imaging.affine_transforms import transform as transform
from .imaging.pixel_space import to_pixel_space as to_pixel_space
from .occlusion.correspondence import Correspondence as Correspondence
from .occlusion.correspondence import correspondence as correspondence
from .occlusion.part_masks import random_masks as random_masks
from .occlusion.sensitivity import OcclusionMaps as OcclusionMaps
from .occlusion.sensitivity import occlusion_maps as occlusion_maps
from .occlusion.sliding_window import pixel_map as pixel_map
from .ops.convolution import transpose_conv as transpose_conv
from .ops.pooling import max_pool_with_switches as max_pool_with_switches
from .ops.pooling import rectify as rectify
from .ops.pooling import unpool as unpool
from .probing.linear_probes import Probes as Probes
from .probing.linear_probes import probe as probe
from .probing.transfer_learning import Transfer as Transfer
from .probing.transfer_learning import transfer as transfer
from .topk.results import TopActivations as TopActivations
from .topk.scan import top_activations as top_activations
from .topk.sheet import top_sheet as top_sheet
from .topk.state import TopK as TopK

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
    "explore",
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
    "top_sheet",
    "touched_windows",
    "transfer",
    "transfer_style",
    "transform",
    "transpose_conv",
    "unpool",
    "verify",
    "visualize",
]
