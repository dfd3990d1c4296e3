"""Results of the verification of a deconvnet, and the limits of their rounding errors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from deconv.runtime.short_repr import short_repr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIMITS = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2, "bfloat16": 1e-1}
"""{dtype: largest residual that is a rounding error}"""


class Verification(NamedTuple):
    """Results of `verify`: the `residuals` of a correct mirror are near the rounding error of the model's dtype.

    Attributes:
        layer: Name of the layer.
        adjoint_residual: `|<Ax, y> - <x, mirror(y)>| / (|Ax| |y|)` for random x and y = Ax + noise of equal norm. A is
            the network without biases, rectification and contrast normalization, with fixed switches, differentiated by
            TensorFlow; the mirror is taken without rectification. A mirror that returns unrelated maps scores about
            0.7, which is |Ax| / |y|; one with a share of wrong filters scores that share of it.
        switch_replay: `{max pooling: largest difference between a pooled value and the value at its switch}`, as a
            share of the largest pooled value.
        gradient_difference: Largest difference, relative to the largest value, between the projection of a unit and its
            gradient under the rule "ReLU passes what is positive in the signal" (Springenberg et al., arXiv:1412.6806,
            section 3.4), over the strongest unit of the layer and those of random active channels.
        collision_rate: `{max pooling: share of pooled units whose maximum is also that of another window}`.
        collisions: The policy of the mirror; only `"sum"` is the exact transpose.
        claim_errors: `{layer with mirrored_as: difference from the declared layer}`, for identities and activations
            (see `deconv.deconvnet.mirrored_as_checks`). Zero for contrast normalization, whose own derivative a
            deconvnet omits.
        factors: `{contrast normalization: (smallest, largest) factor by which it scales values of the images}`, which
            the mirror omits.
        dtype: The dtype with the largest rounding error in the layer and the layers below: float16 for a float32
            softmax on layers of mixed precision.
        tf32: Whether TF32 is enabled for float32 products outside of `deconv`, which matters only on NVIDIA GPUs. These
            numbers, and all projections, are computed without it.
    """

    layer: str
    adjoint_residual: float
    switch_replay: dict[str, float]
    gradient_difference: float
    collision_rate: dict[str, float]
    collisions: str
    claim_errors: Mapping[str, float] = MappingProxyType({})
    factors: Mapping[str, tuple[float, float]] = MappingProxyType({})
    dtype: str = "float32"
    tf32: bool = False

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def residuals(self) -> tuple[float, ...]:
        """All numbers that are zero for an exact mirror."""
        return (
            self.adjoint_residual,
            self.gradient_difference,
            *self.switch_replay.values(),
            *self.claim_errors.values(),
        )

    @property
    def limit(self) -> float:
        """Largest residual that is a rounding error of the dtype: 1e-5 for float32."""
        return LIMITS.get(self.dtype, LIMITS["float32"])

    @property
    def holds(self) -> bool:
        """Whether all residuals are within the limit."""
        return all(residual <= self.limit for residual in self.residuals)

    def __str__(self) -> str:
        rows = [("adjoint residual, whole chain", f"{self.adjoint_residual:.1e}")]
        rows += [(f"switch replay, {name}", f"{value:.1e}") for name, value in self.switch_replay.items()]
        rows.append(("difference from the modified gradient", f"{self.gradient_difference:.1e}"))
        rows += [(f"difference from mirrored_as, {name}", f"{value:.1e}") for name, value in self.claim_errors.items()]
        rows += [
            (f"omitted in the mirror, {name}", f"scales by {low:.3g} to {high:.3g}")
            for name, (low, high) in self.factors.items()
        ]
        rows += [(f"collision rate, {name}", f"{value:.1%}") for name, value in self.collision_rate.items()]
        rows.append(("collisions", self.collisions))
        rows.append(("TF32", f"off in deconv; outside of deconv {'on' if self.tf32 else 'off'}"))
        width = max(len(name) for name, _ in rows)
        return "\n".join(
            [f"deconvnet of layer '{self.layer}'", *(f"  {name:<{width}}  {value}" for name, value in rows)]
        )

    def plot(self, title: str | None = None) -> Figure:
        """Draw every residual of the layer beside its limit (`plotting.verification_sheet`).

        Args:
            title: Title of the figure; None for the name of the layer.

        Returns:
            The Matplotlib figure.
        """
        from deconv.plotting import verification_sheet

        return verification_sheet([self], f"Verification of {self.layer}" if title is None else title)
