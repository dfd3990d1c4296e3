"""Bar chart of the error rates of several networks beside those of the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from deconv.plotting.plain_text import plain_text, texts

_TRAIN, _TEST = "0.65", "tab:blue"


@plain_text
def error_bars(
    names: Sequence[str],
    ours: Mapping[str, ArrayLike],
    paper: Mapping[str, ArrayLike],
    title: str,
    heads: Sequence[str],
    deviations: ArrayLike | None = None,
) -> Figure:
    """Draw one group of horizontal bars per network: training error above, test error below.

    Args:
        names: One text per network, of at most two lines.
        ours: `{label: errors}` with at most two entries, the training error first if there are two. Each is a sequence
            of fractions in [0, 1], NaN for unknown values.
        paper: The same for the right panel; an empty dict for no such panel.
        title: Title of the figure.
        heads: Titles of the two panels.
        deviations: Half the length of the error bars of the last entry of `ours`, as fractions; None for no error bars.

    Returns:
        The Matplotlib figure.
    """
    panels = [errors for errors in (ours, paper) if errors]
    fig = Figure(figsize=(5.2 + 3.6 * len(panels), 0.52 * len(names) + 1.9), layout="constrained")
    axes = np.atleast_1d(fig.subplots(1, len(panels), sharey=True))
    places = np.arange(len(names))
    for ax, errors, head in zip(axes, panels, heads, strict=False):
        most = max((np.nanmax(values) for values in errors.values() if not np.isnan(values).all()), default=0) or 0.01
        height = 0.8 / len(errors)
        for order, (label, values) in enumerate(errors.items()):
            values = 100 * np.asarray(values, float)
            last, offset = order == len(errors) - 1, (order - (len(errors) - 1) / 2) * height
            spread = 100 * np.asarray(deviations) if last and errors is ours and deviations is not None else 0 * places
            ax.barh(places + offset, np.nan_to_num(values), height, color=_TEST if last else _TRAIN, label=label)
            if np.any(spread):
                ax.errorbar(
                    values, places + offset, xerr=spread, fmt="none", ecolor="0.2", elinewidth=1, capsize=2,
                    label="± 2 standard errors",
                )  # fmt: skip
            for place, value, length in zip(places, values, spread, strict=True):
                text = "" if np.isnan(value) else f"{value:.{_decimals(most)}f}"
                ax.text(np.nan_to_num(value) + length + 1.2 * most, place + offset, text, va="center", fontsize=7)
        widest = 0 if deviations is None or errors is not ours else 100 * np.max(deviations)
        ax.set(xlim=(0, 114 * most + widest), xlabel="error (%)")
        ax.set_title(head, fontsize=10)
        ax.set_yticks(places, texts(names), fontsize=8)
        ax.grid(axis="x", alpha=0.3)
        ax.set_axisbelow(True)
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    others = {label: other for label, other in zip(ours, paper, strict=False) if label != other}
    legend = [f"{label} (the paper: {others[label]})" if label in others else label for label in labels]
    fig.legend(handles, legend, fontsize=8, loc="outside lower center", ncols=len(legend))
    fig.suptitle(title)
    return fig


def _decimals(most: float) -> int:
    """Number of decimals of the percentages, chosen so that small errors can be distinguished."""
    return 2 if most < 0.2 else 1
