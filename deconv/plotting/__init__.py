"""Arrays in, Matplotlib figures out; nothing is ever shown or saved here. Needs Matplotlib, which it loads."""

from deconv.plotting.display import crop, mosaic, pixels, signed
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
from deconv.plotting.scheme import scheme, unpooling

__all__ = [
    "GAP",
    "MAPS",
    "activation_sheet",
    "crop",
    "filter_sheet",
    "mosaic",
    "occlusion_sheet",
    "pixels",
    "pooling_sheet",
    "scheme",
    "show_picture",
    "signed",
    "top_sheet",
    "unit_strips",
    "unpooling",
]
