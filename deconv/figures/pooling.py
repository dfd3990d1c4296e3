"""Comparison of a layer before and after its pooling, as a figure and as numbers."""

import numpy as np

from deconv import graph
from deconv.deconvnet.mirrorable import why_not
from deconv.deconvnet.projection import Deconvnet
from deconv.deconvnet.verification import collision_rate
from deconv.diagnostics.pooling_comparison import compare_pooling
from deconv.figures.picture import Picture
from deconv.figures.subject import in_words
from deconv.graph.keras_model import label
from deconv.plotting import pixels, pooling_sheet


def pooling_pictures(subject):
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
        found = compare_pooling(subject.model, inputs, pool, channels, fill=subject.background())
        shared = collision_rate(found.switches)
        title = f"{found.before_layer} before and after {pool} of {subject.model.name}"
        caption = (
            f"Columns: {in_words(len(channels), count)}. Maps before pooling; the same with the places that the "
            "switches of active units point at; maps after; the whole map projected down from before and from after "
            f"pooling (grey is zero, each tile on its own scale). Below, over {len(images)} images: the share of the "
            "sum of squares that pooling keeps, and how much the maps change when the image moves by 1 to 4 pixels, "
            "averaged over four directions. "
            f"{shared:.0%} of these pooled units share their maximum with another window (the collision rate)."
        )
        sides = [subject.shown(side[number]) for side in (found.before_projection, found.after_projection)]
        figure = pooling_sheet(pixels(images[number]), found, sides, title, number)
        numbers = {
            "before": found.before_layer,
            "after": found.after_layer,
            "channels": found.channels,
            "collision_rate": shared,
            "image_ids": ids,
            "labels": labels,
            "shown_image_id": ids[number],
            "energy_kept": found.energy_kept,
            "shifts": found.shifts,
            "change_before": found.change_before,
            "change_after": found.change_after,
            "switches_of_shown_image": found.switches[number],
        }
        yield Picture(f"pooling_{label(pool)}", title, caption, figure, numbers)
