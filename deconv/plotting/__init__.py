"""Functions that take arrays and return Matplotlib figures. They neither show nor save figures. Requires Matplotlib."""

from deconv.plotting.architecture import architecture_sheet
from deconv.plotting.attribution import attribution_sheet
from deconv.plotting.controls import cascade_chart, controls_chart, controls_sheet
from deconv.plotting.correspondence import distance_bars, hidden_sheet
from deconv.plotting.display import crop, mosaic, pixels, signed
from deconv.plotting.embedding import embedding_row, embedding_sheet, unit_sheet
from deconv.plotting.error_chart import error_bars
from deconv.plotting.evolution import evolution_sheet, settling_chart
from deconv.plotting.explain import explanation_sheet
from deconv.plotting.feature_maps import feature_map_sheet, network_sheet
from deconv.plotting.features import raised_chart, regularizer_sheet, visualization_sheet
from deconv.plotting.grids import (
    GAP,
    MAPS,
    activation_sheet,
    filter_sheet,
    show_picture,
    top_sheet,
    unit_strips,
)
from deconv.plotting.health import filter_comparison_sheet, health_sheet, regularisation_sheet
from deconv.plotting.invariance import invariance_sheet
from deconv.plotting.inversion_dream_style import dream_sheet, inversion_sheet, style_sheet
from deconv.plotting.pooling_and_occlusion import occlusion_sheet, pooling_sheet
from deconv.plotting.probes import layer_chart, size_chart
from deconv.plotting.projections import projection_sheet
from deconv.plotting.schematic import scheme, unpooling
from deconv.plotting.verification import verification_sheet

__all__ = [
    "GAP",
    "MAPS",
    "activation_sheet",
    "architecture_sheet",
    "attribution_sheet",
    "cascade_chart",
    "controls_chart",
    "controls_sheet",
    "crop",
    "distance_bars",
    "dream_sheet",
    "embedding_row",
    "embedding_sheet",
    "error_bars",
    "evolution_sheet",
    "explanation_sheet",
    "feature_map_sheet",
    "filter_comparison_sheet",
    "filter_sheet",
    "health_sheet",
    "hidden_sheet",
    "invariance_sheet",
    "inversion_sheet",
    "layer_chart",
    "mosaic",
    "network_sheet",
    "occlusion_sheet",
    "pixels",
    "pooling_sheet",
    "projection_sheet",
    "raised_chart",
    "regularisation_sheet",
    "regularizer_sheet",
    "scheme",
    "settling_chart",
    "show_picture",
    "signed",
    "size_chart",
    "style_sheet",
    "top_sheet",
    "unit_sheet",
    "unit_strips",
    "unpooling",
    "verification_sheet",
    "visualization_sheet",
]
