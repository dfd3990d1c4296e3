"""Attribution of a unit to the pixels: signed maps of the size of the image, by several methods with one interface."""

from collections.abc import Callable
from typing import Any

from deconv.attribution.gradient_cam import grad_cam, grad_cam_map
from deconv.attribution.path_integrals import completeness, integrated_gradients
from deconv.attribution.relevance_propagation import Relevances, lrp, relevances
from deconv.attribution.saliency import channel_max, deconvnet, gradient, guided_backprop, input_x_gradient
from deconv.attribution.smooth_gradients import smooth_grad

METHODS: dict[str, Callable[..., Any]] = {
    "gradient": gradient,
    "input_x_gradient": input_x_gradient,
    "smooth_grad": smooth_grad,
    "integrated_gradients": integrated_gradients,
    "guided_backprop": guided_backprop,
    "deconvnet": deconvnet,
    "grad_cam": grad_cam,
    "lrp": lrp,
}
"""{name: function}, all with the signature `method(model, images, target=None, layer=None, *, unit="max", ...)`."""

__all__ = [
    "METHODS",
    "Relevances",
    "channel_max",
    "completeness",
    "deconvnet",
    "grad_cam",
    "grad_cam_map",
    "gradient",
    "guided_backprop",
    "input_x_gradient",
    "integrated_gradients",
    "lrp",
    "relevances",
    "smooth_grad",
]
