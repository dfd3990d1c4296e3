"""Arrays in, Matplotlib figures out; nothing is ever shown or saved here. Needs Matplotlib, which it loads."""

from deconv.plotting.architecture import architecture_sheet
from deconv.plotting.correspondence import distance_bars, hidden_sheet
from deconv.plotting.display import crop, mosaic, pixels, signed
from deconv.plotting.errors import error_bars
from deconv.plotting.evolution import evolution_sheet, settling_chart
from deconv.plotting.experiments import occlusion_sheet, pooling_sheet
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
from deconv.plotting.probes import layer_chart, size_chart
from deconv.plotting.scheme import scheme, unpooling

__all__ = [
    "GAP",
    "MAPS",
    "activation_sheet",
    "architecture_sheet",
    "crop",
    "distance_bars",
    "error_bars",
    "evolution_sheet",
    "filter_comparison_sheet",
    "filter_sheet",
    "health_sheet",
    "hidden_sheet",
    "invariance_sheet",
    "layer_chart",
    "mosaic",
    "occlusion_sheet",
    "pixels",
    "pooling_sheet",
    "regularisation_sheet",
    "scheme",
    "settling_chart",
    "show_picture",
    "signed",
    "size_chart",
    "top_sheet",
    "unit_strips",
    "unpooling",
]
