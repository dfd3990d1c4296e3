"""Comparison of a layer before and after its pooling, as a figure and as numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from deconv import graph
from deconv.deconvnet.mirrorable import why_not
from deconv.deconvnet.projection import Deconvnet
from deconv.deconvnet.verification import collision_rate
from deconv.diagnostics.pooling_comparison import compare_pooling
from deconv.figures.picture import Picture
from deconv.figures.subject import Subject, in_words
from deconv.graph.keras_model import label
from deconv.plotting import pixels, pooling_sheet


def pooling_pictures(subject: Subject) -> Iterator[Picture]:
    """Compare layers before and after pooling, one figure per max pooling layer that has a deconvnet."""
    images, labels, ids = subject.examples()
    number = int(np.random.default_rng(subject.seed).integers(len(images)))
    inputs, model_graph = subject.prepared(images), graph.walk(subject.model)
    net = Deconvnet(subject.model)
    for pool in subject.pools():
        if why_not(net, pool):  # half of the figure consists of projections
            continue
        count = graph.find(model_graph, pool).output.shape[-1]
        channels = subject.channels(pool, count, 16)
        options: dict[str, Any] = {"fill": subject.background(), "batch_size": min(32, subject.batch_size)}
        comparison = compare_pooling(subject.model, inputs, pool, channels, **options)
        shared = collision_rate(comparison.switches)
        title = f"{comparison.before_layer} before and after {pool} of {subject.model.name}"
        caption = (
            f"Columns: {in_words(len(channels), count)}. Rows: maps before pooling; the same maps with the positions "
            "of the switches of active units; maps after pooling; projections of the whole map before and after "
            f"pooling (grey is zero, each tile on its own scale). Below, over {len(images)} images: the fraction of "
            "the sum of squares that pooling keeps, and the change of the maps when the image is translated by 1 to 4 "
            "pixels, averaged over four directions. "
            f"{shared:.0%} of these pooled units share their maximum with another window (the collision rate)."
        )
        sides = [subject.shown(side[number]) for side in (comparison.before_projection, comparison.after_projection)]
        figure = pooling_sheet(pixels(images[number]), comparison, sides, title, number)
        numbers = {
            "before": comparison.before_layer,
            "after": comparison.after_layer,
            "channels": comparison.channels,
            "collision_rate": shared,
            "image_ids": ids,
            "labels": labels,
            "shown_image_id": ids[number],
            "energy_kept": comparison.energy_kept,
            "shifts": comparison.shifts,
            "change_before": comparison.change_before,
            "change_after": comparison.change_after,
            "switches_of_shown_image": comparison.switches[number],
        }
        yield Picture(name=f"pooling_{label(pool)}", title=title, caption=caption, figure=figure, numbers=numbers)
