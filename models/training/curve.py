"""The learning curve: loss and error rate over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curve(history: Sequence[Mapping[str, float]], title: str) -> Figure:
    """Draw loss and error rate for training and test images.

    Args:
        history: List of dicts with `epoch, loss, accuracy, test_loss, test_accuracy`, accuracies in [0, 1].
        title: Title of the figure.

    Returns:
        A Matplotlib `Figure` without a window.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, 2)
    series = (
        ("training (mean over the epoch)", "tab:gray", ""),
        ("test (after the epoch)", "tab:blue", "test_"),
    )
    for name, colour, prefix in series:
        loss = [row[f"{prefix}loss"] for row in history]
        error = [100 * (1 - row[f"{prefix}accuracy"]) for row in history]
        for panel, values in zip(panels, (loss, error), strict=True):
            panel.plot(epochs, np.array(values), marker="o", markersize=3, color=colour, label=name)
    panels[0].set(title="Loss", ylabel="cross-entropy (nats)")
    panels[1].set(title=f"Error rate (test, last epoch: {error[-1]:.2f} %)", ylabel="misclassified images (%)")
    for panel in panels:
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        if all((line.get_ydata() > 0).all() for line in panel.lines):
            panel.set_yscale("log")
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_formatter("{x:g}")
        panel.grid(alpha=0.3)
        panel.legend()
    return figure
