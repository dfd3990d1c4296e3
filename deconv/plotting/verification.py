"""Chart of the numerical verification of a deconvnet."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from deconv.plotting.layer_results import Verification
from deconv.plotting.plain_text import plain_text, texts

_LEAST = 1e-9
"""Lower end of the logarithmic axis; smaller values, including zero, are drawn there."""


@plain_text
def verification_sheet(found: Sequence[Verification], title: str) -> Figure:
    """Draw the residuals of each layer and the percentage of pooled units that share a maximum.

    Args:
        found: List of `Verification`s.
        title: Title of the figure.

    Returns:
        The Matplotlib figure.
    """
    rates = {pool: rate for one in found for pool, rate in one.collision_rate.items()}
    layers = [one.layer for one in found]
    size = (max(7.0, 0.9 * len(layers) + 0.6 * len(rates) + 3.5), 4.0)
    fig, axes = plt.subplots(
        1, 2 if rates else 1, figsize=size, squeeze=False, layout="constrained", width_ratios=[2, 1] if rates else None
    )
    axes = axes[0]
    places = np.arange(len(layers))
    series = {
        "adjoint": ("o", [one.adjoint_residual for one in found]),
        "switches": ("s", [max(one.switch_replay.values(), default=np.nan) for one in found]),
        "gradient": ("^", [one.gradient_difference for one in found]),
    }
    if any(one.claim_errors for one in found):
        series["claims"] = ("D", [max(one.claim_errors.values(), default=np.nan) for one in found])
    for lift, (name, (marker, values)) in zip((-0.15, 0, 0.15, 0.3), series.items(), strict=False):
        axes[0].plot(places + lift, np.maximum(values, _LEAST), marker, label=name, markersize=7)
    epsilon = float(np.finfo(np.float32).eps)
    axes[0].axhline(epsilon, color="0.5", linewidth=0.8, linestyle="--", zorder=0, label="rounding of float32")
    largest = max([1e-5, *(2 * np.nanmax(values) for _, values in series.values() if not np.isnan(values).all())])
    axes[0].set(yscale="log", ylim=(_LEAST / 2, largest), ylabel="relative residual", xlabel="layer")
    axes[0].set_yticks([_LEAST, 1e-8, 1e-7, 1e-6, 1e-5], ["0", "1e-8", "1e-7", "1e-6", "1e-5"])
    axes[0].set_xticks(places, texts(layers))
    axes[0].set_xlim(-0.6, len(layers) - 0.4)
    axes[0].legend(fontsize=8)
    if rates:
        bars = axes[1].bar(texts(rates), [100 * rate for rate in rates.values()], color="0.45")
        axes[1].bar_label(bars, [f"{rate:.1%}" for rate in rates.values()], fontsize=8)
        axes[1].set(ylabel="pooled units (%)", ylim=(0, 100), xlabel="max pooling", title="units that share a maximum")
    fig.suptitle(title)
    return fig
