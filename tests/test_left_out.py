"""Sheets without projections, and of scores that are no probabilities; what Fig. 7's claims then come to."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import deconv
from deconv import plotting
from deconv.figures.fig7 import occlusion_findings


def maps_of(outputs):
    """`OcclusionMaps` of a 6x8 image, squares of 2 and stride 2."""
    outputs = np.reshape(outputs, (3, 4)).astype(float)
    tops, lefts = np.arange(0, 5, 2), np.arange(0, 7, 2)
    predicted = np.zeros((3, 4), int)
    return deconv.OcclusionMaps(outputs, predicted, outputs + 9, tops, lefts, (2, 2), 0, 1, (outputs.max(), 0, 9.0))


IMAGES = np.full((2, 6, 8, 3), 0.5)
LOGITS = [maps_of(np.arange(12) - 7), maps_of(np.arange(12) * 0.5)]
"""From -7 to 5.5 in all."""


def drawn(projections, **more):
    figure = plotting.occlusion_sheet(IMAGES, LOGITS, projections, ["a", "b"], ["x", "y"], "sheet", **more)
    count = 5 if projections is not None else 4
    rows = [figure.axes[count * row : count * row + count] for row in range(2)]
    return figure, rows


def test_an_occlusion_sheet_without_projections_has_a_column_less_and_the_same_maps():
    _, rows = drawn(None)
    _, others = drawn(IMAGES)
    heads = [[ax.get_title() for ax in some[0]] for some in (rows, others)]
    assert [head for head in heads[1] if not head.startswith("(c)")] == heads[0] and len(heads[0]) == 4
    for row, other in zip(rows, others, strict=True):
        for place, there in ((1, 1), (2, 3), (3, 4)):
            mine, theirs = (ax.collections[0].get_array() for ax in (row[place], other[there]))
            np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


@pytest.mark.parametrize(
    ("score", "ends", "last"),
    [("probability", (0, 1), "(e) most probable\nclass"), ("score (logit)", (-7, 5.5), "(e) strongest\nclass")],
)
def test_only_probabilities_are_drawn_from_0_to_1(score, ends, last):
    figure, rows = drawn(IMAGES, score=score)
    assert rows[0][3].get_title() == f"(d) {score} of\nthe class at the left" and rows[0][4].get_title() == last
    assert all(row[3].collections[0].get_clim() == ends for row in rows)
    assert score in [ax.get_xlabel() for ax in figure.axes]


def test_a_top_sheet_without_projections_shows_the_patches_alone():
    tiles = np.random.default_rng(0).random((2, 4, 6, 5, 1))
    alone = plotting.top_sheet(None, tiles, np.arange(2), "sheet", tiles=2)
    both = plotting.top_sheet(1 - tiles, tiles, np.arange(2), "sheet", tiles=2)
    one, two = (figure.axes[0].images[0].get_array() for figure in (alone, both))
    assert one.shape[0] == two.shape[0] and two.shape[1] == 2 * one.shape[1]
    np.testing.assert_array_equal(np.asarray(one), np.asarray(two)[:, one.shape[1] :])
    assert len(alone.axes) == len(both.axes) - 1  # no scale of projections


def test_claims_about_shares_are_not_judged_on_logits_nor_those_about_projections_without_any():
    pictures = np.random.default_rng(0).random((2, 6, 8, 1))
    said, agreement = occlusion_findings(LOGITS, pictures, "score (logit)")
    assert said[0].seen is None and "score (logit)" in said[0].measured
    assert said[1].seen is not None and np.isfinite(agreement).all()
    said, agreement = occlusion_findings(LOGITS, None)
    assert said[0].seen is not None and said[1].seen is None and said[1].measured == "the layer has no deconvnet"
    assert np.isnan(agreement).all() and agreement.shape == (2, 2)
