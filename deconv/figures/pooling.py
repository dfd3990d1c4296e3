"""A layer before and after its pooling, as one picture and as numbers."""

import numpy as np

from deconv.figures.record import Picture
from deconv.plotting import pixels, pooling_sheet, signed
from deconv.pooling import compare_pooling
from deconv.rules import label


def pooling_pictures(subject):
    images, labels, ids = subject.examples()
    number = int(np.random.default_rng(subject.seed).integers(len(images)))
    inputs = subject.preprocess(images)
    background = float(subject.preprocess(np.full_like(images[:1], subject.fill)).mean())
    for pool in subject.pools():
        found = compare_pooling(subject.model, inputs, pool, fill=background)
        title = f"{found.before_layer} before and after {pool} of {subject.model.name}"
        caption = (
            "Columns are channels. Maps before pooling; the same with the places that the switches of active units "
            "point at; maps after; the whole map projected down from before and from after pooling (grey is zero, each "
            f"tile on its own scale). Below, over {len(images)} images: the share of the sum of squares that pooling "
            "keeps, and how much the maps change when the image moves by 1 to 4 pixels, averaged over four directions."
        )
        sides = [signed(side[number]) for side in (found.before_projection, found.after_projection)]
        figure = pooling_sheet(pixels(images[number]), found, sides, title, number)
        numbers = {
            "before": found.before_layer,
            "after": found.after_layer,
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
