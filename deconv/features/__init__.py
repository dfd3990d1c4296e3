"""Feature visualization by optimisation: activation maximisation, inversion, DeepDream and style transfer."""

from deconv.features.dreaming import dream
from deconv.features.frequencies import high_frequency_share
from deconv.features.inversion import Inversion, invert
from deconv.features.objectives import (
    Objective,
    Target,
    channel,
    class_logit,
    deepdream,
    direction,
    diversity,
    layer,
    neuron,
)
from deconv.features.optimization import Visualization, optimize
from deconv.features.parametrizations import Parametrization, fourier, pixels
from deconv.features.presets import PRESETS, visualize
from deconv.features.regularizers import Regularizer
from deconv.features.style import StyleTransfer, transfer_style
from deconv.features.transforms import Transform

__all__ = [
    "PRESETS",
    "Inversion",
    "Objective",
    "Parametrization",
    "Regularizer",
    "StyleTransfer",
    "Target",
    "Transform",
    "Visualization",
    "channel",
    "class_logit",
    "deepdream",
    "direction",
    "diversity",
    "dream",
    "fourier",
    "high_frequency_share",
    "invert",
    "layer",
    "neuron",
    "optimize",
    "pixels",
    "transfer_style",
    "visualize",
]
