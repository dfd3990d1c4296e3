"""Fig. 4: development of features over the training epochs, computed from the checkpoints of a run."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from deconv import graph
from deconv.evolution.callback import FeatureEvolution
from deconv.evolution.convergence import LEVEL, Evolution, Settling, settling
from deconv.figures.picture import Picture
from deconv.figures.published_results import Finding
from deconv.figures.subject import Subject, in_words
from deconv.figures.training_runs import Run, read_runs
from deconv.graph import fingerprint
from deconv.graph.keras_model import label
from deconv.plotting.evolution import evolution_sheet, settling_chart
from deconv.runtime.short_repr import short_repr

MEASURED, SHOWN = 32, 6
"""Number of channels of each layer that are measured, and number of these that are drawn."""
FEW = 5
"""Maximum number of epochs that counts as "a few epochs"."""
LATE = 40 / 70
"""Fraction of the training after which a feature develops late: in the paper, after 40 or more of 70 epochs."""
LESS = 0.1
"""Minimum mean drop of similarity at jumps."""


class Development(NamedTuple):
    """Features of a run at its checkpoints.

    Attributes:
        run: The run.
        data: The images on which the features were computed.
        evolutions: `{layer: Evolution}` of the convolutional layers, from the lowest to the highest.
        settlings: `{layer: Settling}` of the same layers.
        counts: `{layer: number of channels}`.
    """

    run: Run
    data: Any
    evolutions: dict[str, Evolution]
    settlings: dict[str, Settling]
    counts: dict[str, int]

    def __repr__(self) -> str:
        return short_repr(self)


def evolution_data(subject: Subject) -> Development | None:
    """Scan the training data (or else the subject's data) with each checkpoint of the first run that fits.

    Returns:
        `Development`; None if there is no run of this network with at least two checkpoints.
    """
    layers = subject.filters()
    if subject.runs is None or not layers:
        return None
    runs = (run for run in read_runs(Path(subject.runs) / "evolution") if len(run.checkpoints) > 1)
    run = next((run for run in runs if _same_network(run.model(), subject.model, layers)), None)
    if run is None:
        return None
    model_graph = graph.walk(subject.model)
    counts = {layer: graph.find(model_graph, layer).output.shape[-1] for layer in layers}
    channels: dict[str, Any] = {layer: subject.channels(layer, count, MEASURED) for layer, count in counts.items()}
    data = subject.data if subject.training is None else subject.training
    checkpoints = {epoch: functools.partial(run.model, epoch) for epoch in run.checkpoints}
    scanned = FeatureEvolution.from_checkpoints(checkpoints, data, layers, channels, preprocess=subject.preprocess)
    evolutions = scanned.evolutions
    settlings = {layer: settling(evolution) for layer, evolution in evolutions.items()}
    return Development(run=run, data=data, evolutions=evolutions, settlings=settlings, counts=counts)


def evolution_pictures(subject: Subject) -> Iterator[Picture]:
    """Draw Fig. 4, one figure per layer and a chart of convergence; nothing without a suitable run."""
    development = evolution_data(subject)
    if development is None:
        return
    name = subject.model.name
    for layer, evolution in development.evolutions.items():
        shown = evolution.part(subject.channels(layer, len(evolution.channels), SHOWN))
        height, width = shown.projections.shape[2:4]
        title = f"{layer} of {name}: features over the training epochs"
        rows = in_words(len(shown.channels), development.counts[layer])
        caption = (
            f"After the paper's Fig. 4. Rows: {rows}; columns: epochs. Each tile is the projection of the channel's "
            f"strongest unit over {development.data.size:,} images of {development.data.name} at that epoch, "
            f"cropped to its receptive field, {height}×{width} pixels; grey is zero, also outside of the image. Each "
            f"projection is divided by {subject.scale}. An orange frame marks a jump: the image with the strongest "
            f"activation differs from that of the previous epoch. {_convergence(development.settlings[layer])}"
        )
        figure = evolution_sheet(shown, title, percentile=subject.contrast, scale=subject.scale)
        yield Picture(
            name=f"fig4_{label(layer)}",
            title=title,
            caption=caption,
            figure=figure,
            numbers=_numbers(evolution, shown.channels),
        )
    title = f"Convergence of the layers of {name}"
    most = max(len(one.channels) for one in development.evolutions.values())
    caption = (
        f"Up to {most} channels of each layer, drawn at random, at {len(evolution.epochs)} checkpoints of the run "
        f"'{development.run.name}'. Left: mean cosine similarity of the projections of the strongest units to those of "
        f"the last checkpoint. A layer has converged (diamond) where this stays above {LEVEL}, that is, where the "
        f"projections share {LEVEL**2:.0%} of their energy. Middle and right: the two things that may change a "
        "projection, which are the filters of the layer and the image with the strongest activation. An epoch is one "
        "pass over the training data; the paper's has 1.3 million images."
    )
    numbers = {layer: settled._asdict() for layer, settled in development.settlings.items()}
    figure = settling_chart(development.settlings, title)
    yield Picture(
        name="fig4_settling",
        title=title,
        caption=caption,
        figure=figure,
        numbers=numbers,
        findings=findings(development.evolutions, development.settlings),
    )


def _undecided(several: bool, last: float, inactive: str) -> str:
    if not several:
        return "the network has one convolution"
    return (
        inactive if np.isnan(last) else "at the last checkpoint but one it has not settled yet, so perhaps never does"
    )


def findings(evolutions: Mapping[str, Evolution], settlings: Mapping[str, Settling]) -> list[Finding]:
    """Test the claims about Fig. 4; layers from the lowest to the highest."""
    names, settled = list(settlings), list(settlings.values())
    epochs, several = settled[0].epochs, len(names) > 1
    first, last, end = settled[0].epoch, settled[-1].epoch, epochs[-1]
    measured = ", ".join(f"{name} at {one.epoch:.1f}" for name, one in settlings.items()) + f" of {end} epochs"
    early = not np.isnan(first) and epochs[0] <= FEW
    late = several and not np.isnan(last) and not (len(epochs) > 1 and last > epochs[-2])
    inactive = "its channels are all silent in the end"
    drop, cells = jump_drop(list(evolutions.values())[1:])
    return [
        Finding(
            "fig4-low-first",
            bool(first <= FEW) if early else None,
            f"the features of the first convolution settle by epoch {FEW}",
            measured if early else inactive if np.isnan(first) else f"the first checkpoint is of epoch {epochs[0]}",
        ),
        Finding(
            "fig4-high-late",
            bool(last >= LATE * end) if late else None,
            f"those of the last settle after {LATE:.0%} of the epochs, as 40 are of the paper's 70",
            measured if late else _undecided(several, last, inactive),
        ),
        Finding(
            "fig4-jumps",
            bool(drop > LESS) if cells else None,
            "above the first convolution, from one checkpoint to the next, the projections of features whose strongest "
            f"image changes are less alike than those of the same layer that keep it: cosine lower by more than {LESS}",
            f"lower by {drop:.2f} on average over {cells} steps of a layer from one checkpoint to the next"
            if cells
            else "there is no step at which some features of a layer above the first change their image, others not",
        ),
    ]


def jump_drop(evolutions: Sequence[Evolution]) -> tuple[float, int]:
    """Drop in the similarity of successive projections at jumps, compared with steps without a jump.

    Features are compared with other features of the same layer at the same epoch, because weights change most in the
    first epochs, where most jumps occur too.

    Args:
        evolutions: List of `Evolution`.

    Returns:
        `(difference, steps)`: the mean over all steps of a layer between successive epochs at which at least one
        feature jumps and at least one does not, and the number of these steps; the mean is NaN if there are none.
    """
    drops = []
    for evolution in evolutions:
        similarity, jumps = evolution.similarity, evolution.jumps
        for cosines, jumped in zip(similarity.T, jumps.T, strict=True):
            known = ~np.isnan(cosines)
            if (known & jumped).any() and (known & ~jumped).any():
                drops.append(cosines[known & ~jumped].mean() - cosines[known & jumped].mean())
    return (float(np.mean(drops)) if drops else float("nan")), len(drops)


def _same_network(model: keras.Model, other: keras.Model, layers: Sequence[str]) -> bool:
    """Whether two models are identical up to the given layers of `other`, except for their weights."""
    architectures = []
    for model_graph in (graph.walk(model), graph.walk(other)):
        if not set(layers) <= {step.name for step in model_graph.steps}:
            return False
        below = graph.subgraph(model_graph, *(graph.find(model_graph, layer) for layer in layers))
        architectures.append(fingerprint.architecture(below, layers))
    return architectures[0] == architectures[1]


def _convergence(settled: Settling) -> str:
    """Sentence about the epoch at which a layer converges."""
    if np.isnan(settled.epoch):
        return "All of its channels are inactive at the last checkpoint."
    if settled.epoch == settled.epochs[0]:
        return f"The layer has converged by epoch {settled.epoch:.0f}."
    return f"The layer converges at epoch {settled.epoch:.1f}."


def _numbers(evolution: Evolution, shown: np.ndarray) -> dict[str, Any]:
    numbers = {"layer": evolution.layer, "epochs": evolution.epochs, "channels": evolution.channels, "shown": shown}
    numbers |= {name: getattr(evolution, name) for name in ("values", "ids", "positions", "windows")}
    return numbers | {name: getattr(evolution, name) for name in ("jumps", "similarity", "similarity_to_last")}
