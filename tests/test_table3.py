"""Errors of trained networks: what their records say, several together by hand, and what that says to the claims."""

import json
import math
import re

import keras
import matplotlib
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

matplotlib.use("Agg")

from deconv import figures
from deconv.datasets import ImageSet
from deconv.figures.published_results import published
from deconv.figures.table3 import Ensemble, Row, ensemble_data, error_pictures, mean_probabilities, row_of, wrong
from deconv.figures.table3_claims import comparison_claims, depth_claims, significantly_lower, standard_error
from deconv.figures.training_runs import read_runs
from deconv.plotting.error_chart import error_bars
from models.training.variants import variants

# ---------------------------------------------------------------------------------------------- the yardstick


def test_the_standard_error_is_that_of_a_binomial_rate():
    draws = np.random.default_rng(0).binomial(400, 0.1, 200_000) / 400
    others = np.random.default_rng(1).binomial(400, 0.3, 200_000) / 400
    assert standard_error(0.1, size=400) == pytest.approx(0.015) == pytest.approx(draws.std(), rel=0.01)
    assert standard_error(0.1, 0.3, size=400) == pytest.approx((draws - others).std(), rel=0.01)


@pytest.mark.parametrize(("other", "counts"), [(0.5 - 0.141, False), (0.5 + 0.13, False), (0.5 + 0.15, True)])
def test_an_error_counts_as_lower_beyond_two_standard_errors(other, counts):
    assert significantly_lower(0.5, other, 100) is counts  # two standard errors of the difference are 0.138 to 0.141


# ---------------------------------------------------------------------------------------------- the claims


def row(change, train, test, network="net", size=50_000, name=None):
    return Row(name or change, network, change, "", 1, train / 100, test / 100, math.nan, size, size)


def papers_rows(size=50_000):
    """The paper's Table 3 as if it were ours."""
    errors = {name: numbers for name, *numbers in published("table3").rows}
    return [
        row(variant.change, *errors[variant.row][:2], variant.options.get("model", "alexnet"), size)
        for variant in variants("alexnet", "ablation")
    ]


def seen(findings):
    return {finding.claim: finding.seen for finding in findings}


def test_the_papers_own_errors_say_what_the_paper_claims():
    table = {name: numbers for name, *numbers in published("table2").rows}
    ensemble = [table["5 convnets as in Fig. 3 (a)"][0], table["1 convnet as in Fig. 3"][0]]
    together = [Ensemble("same", "5 networks", ["a"] * 5, np.full(5, ensemble[1] / 100), ensemble[0] / 100, 50_000)]
    found = seen([*depth_claims(papers_rows()), *comparison_claims(papers_rows(), together)])
    assert found == dict.fromkeys(
        [f"table3-{claim}" for claim in ("depth", "dense", "overfit")]
        + [f"table2-{claim}" for claim in ("better", "wide", "ensemble")],
        True,
    )


def test_the_same_errors_on_few_images_say_less():
    found = seen([*depth_claims(papers_rows(200)), *comparison_claims(papers_rows(200), [])])
    assert found["table3-depth"] and found["table3-dense"] is None  # 71 % is far from 40 %; the rest is in doubt
    assert found["table2-better"] is False and found["table2-wide"] is False and found["table2-ensemble"] is None


@pytest.mark.parametrize(
    ("convolutions", "dense", "both", "expected"),
    [
        (12, 11, 20, True),  # 2 + 1 < 10
        (15, 14, 19.1, False),  # together no more than one by one: 5 + 4 against 9.1
        (15, 14, 20.5, True),
        (8, 14, 20.5, True),  # a gain is no cost: 0 + 4 against 10.5
        (15, 14, 19.4, False),  # 0.4 points above their sum, two standard errors are 0.44
    ],
)
def test_depth_is_seen_where_both_cost_more_than_one_and_the_other(convolutions, dense, both, expected):
    errors = {"none": 10, "convolutions": convolutions, "dense": dense, "convolutions and dense": both}
    finding = depth_claims([row(change, 1, error) for change, error in errors.items()])[0]
    assert finding.seen is expected
    assert f"10.00 % as it is, without convolutions {convolutions - 10:+.2f}" in finding.measured


@pytest.mark.parametrize(("half", "double", "expected"), [(10.9, 9.1, True), (11.2, 10, False), (10, 8.5, False)])
def test_the_dense_layers_matter_little_within_a_tenth_of_the_error(half, double, expected):
    rows = [row(change, 1, error) for change, error in (("none", 10), ("half", half), ("double", double))]
    assert depth_claims(rows)[1].seen is expected
    few = depth_claims([one._replace(test_size=100) for one in rows])[1]
    assert few.seen is None and few.measured.startswith("100 test images are too few: net, half")


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [((10, 5, 2), (30, 28, 29), True), ((10, 2, 5), (30, 28, 29), False), ((10, 5, 2), (30, 28, 26), False)],
)
def test_overfitting_is_the_best_fit_without_the_best_test(train, test, expected):
    rows = [row(*found) for found in zip(("none", "wide", "wide and double"), train, test, strict=True)]
    assert depth_claims(rows)[2].seen is expected


def test_runs_of_one_network_are_averaged():
    rows = [row("none", 1, 20), row("none", 1, 40), row("wide", 1, 25)]
    (finding,) = [found for found in comparison_claims(rows, []) if found.claim == "table2-wide"]
    assert finding.seen is True and finding.measured == "net: 25.00 %, as it is 30.00 %, 50,000 images."


def test_what_was_not_trained_cannot_be_tested():
    findings = [*depth_claims([row("none", 1, 2)]), *comparison_claims([row("none", 1, 2)], [])]
    assert {finding.verdict for finding in findings} == {"cannot be tested"}
    assert all(finding.measured and finding.criterion for finding in findings)


# ---------------------------------------------------------------------------------------------- several together


def test_averaging_is_that_of_a_slow_sum():
    scores = np.random.default_rng(0).dirichlet(np.ones(5), (3, 20)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 5, 20)
    expected, count = np.zeros((20, 5)), 0
    for image in range(20):
        for place in range(5):
            expected[image, place] = sum(float(scores[network, image, place]) for network in range(3)) / 3
        count += int(max(range(5), key=lambda place: expected[image, place]) != labels[image])
    np.testing.assert_allclose(mean_probabilities(scores), expected, rtol=1e-6)
    assert wrong(mean_probabilities(scores), labels) == count and 0 < count < 20
    assert wrong(scores, labels).shape == (3,)


def told(*answers):
    """A network of three pixels and two classes: pixel n alone lit, it gives class 1 the probability `answers[n]`."""
    image = keras.Input((1, 3, 1), name="image")
    model = keras.Model(image, layers.Dense(2, "softmax", name="top")(layers.Flatten()(image)), name="small")
    odds = [math.log(answer / (1 - answer)) for answer in answers]
    model.set_weights([np.array([[0, odd] for odd in odds]), np.zeros(2)])
    return model


PIXELS = np.eye(3, dtype=np.uint8).reshape(3, 1, 3, 1)  # each of three images has one pixel lit
SOURCE = "three images of this test."


def held_out(source=SOURCE):
    listed = tf.data.Dataset.from_tensor_slices((PIXELS, np.int32([1, 1, 1]), np.arange(3, dtype=np.int64)))
    return ImageSet("lit", "test", listed, ("no", "yes"), 3, (1, 3, 1), source)


def write_run(folder, variant, model, test=0.5, train=0.75, source=SOURCE, **results):
    folder.mkdir(parents=True)
    results |= {"test_accuracy": test, "train_accuracy": train}
    data = {"train": "other images.", "train_size": 8, "test": source, "test_size": 3, "classes": ["no", "yes"]}
    record = {"arguments": {"seed": 0}, "data": data, "results": results, "variant": variant}
    (folder / "training.json").write_text(json.dumps(record))
    model.save(folder / "small.keras")


def variant(place, name, change, row="as in Fig. 3"):
    return {"group": "ablation", "place": place, "name": name, "row": row, "change": change}


@pytest.fixture
def subject(tmp_path):
    """Three networks of which each is wrong about another image, and one without a layer that is always wrong."""
    runs = tmp_path / "runs" / "ablation"
    write_run(runs / "b", variant(1, "as it is", "none"), told(0.4, 0.9, 0.9), parameters=8)
    write_run(runs / "a", variant(2, "again", "none"), told(0.9, 0.4, 0.9), test=0.625)
    write_run(runs / "c", variant(3, "wide", "wide"), told(0.9, 0.9, 0.4), test=1.0, parameters=99)
    write_run(runs / "d", variant(4, "without dense", "dense"), told(0.1, 0.1, 0.1), test=0.0)
    return figures.Subject(told(0.9, 0.9, 0.9), "none", None, np.float32, held_out=held_out(), runs=tmp_path / "runs")


def test_networks_that_are_wrong_about_different_images_are_right_together(subject):
    same, full = ensemble_data(subject, read_runs(subject.runs / "ablation"), batch_size=2)
    assert same.members == ["as it is", "again"] and full.members == ["as it is", "again", "wide"]
    assert same.each.tolist() == [1 / 3, 1 / 3] and full.each.tolist() == [1 / 3] * 3
    assert same.together == 0 and full.together == 0  # (0.4 + 0.9) / 2, (0.4 + 0.9 + 0.9) / 3: more than a half
    assert (same.kind, same.name, same.size) == ("same", "2 networks from different seeds", 3)


def test_networks_of_another_kind_or_tested_on_other_images_are_not_asked(subject):
    runs = read_runs(subject.runs / "ablation")
    assert ensemble_data(subject._replace(held_out=None), runs) == []
    assert ensemble_data(subject._replace(held_out=held_out("others.")), runs) == []
    image = keras.Input((1, 3, 1))
    other = keras.Model(image, layers.Dense(2)(layers.Flatten()(image)), name="other")
    assert ensemble_data(subject._replace(model=other), runs) == []
    assert ensemble_data(subject, runs[:1]) == []


# ---------------------------------------------------------------------------------------------- the pictures


def test_the_table_holds_what_the_records_say_beside_the_papers_rows(subject):
    ablation, comparison = error_pictures(subject)
    assert [picture.name for picture in (ablation, comparison)] == ["table3_errors", "table2_errors"]
    (table,) = ablation.tables
    assert table.rows == [
        ["as it is", 8, 25.0, 50.0, None, "as in Fig. 3", 33.1, 38.4, 16.5],
        ["again", 8, 25.0, 37.5, None, "as in Fig. 3", 33.1, 38.4, 16.5],
        ["wide", 99, 25.0, 0.0, None, "as in Fig. 3", 33.1, 38.4, 16.5],
        ["without dense", 8, 25.0, 100.0, None, "as in Fig. 3", 33.1, 38.4, 16.5],
    ]
    assert comparison.tables[0].rows == [
        ["as it is", 50.0, "1 convnet as in Fig. 3", 38.4],
        ["again", 37.5, "1 convnet as in Fig. 3", 38.4],
        ["wide", 0.0, "1 convnet as in Fig. 3", 38.4],
        ["2 networks from different seeds", 0.0, "5 convnets as in Fig. 3 (a)", 36.7],
        ["3 networks of full depth", 0.0, "6 convnets, (a) and (b) combined", 36.0],
    ]
    assert all(len(line) == len(found.columns) for picture in (ablation, comparison) for found in picture.tables
               for line in found.rows)  # fmt: skip
    assert ablation.numbers["two_standard_errors"] == pytest.approx([2 * math.sqrt(0.25 / 3), 0.559, 0, 0], abs=1e-3)
    claims = [finding.claim for picture in (ablation, comparison) for finding in picture.findings]
    assert sorted(claims) == sorted(claim for claim in figures.CLAIMS if re.match("table[23]-", claim))
    assert "with one seed" in ablation.caption and SOURCE in ablation.caption


def test_photographs_have_their_top_5_error_and_unknown_errors_stay_empty(subject):
    folder = subject.runs / "ablation" / "b" / "training.json"
    record = json.loads(folder.read_text())
    record["results"] = {"top1": 0.75, "top5": 0.9375, "ten_crop_top1": 0.8}
    folder.write_text(json.dumps(record))
    found = row_of(read_runs(subject.runs / "ablation")[0])
    assert (found.test, found.top5, found.parameters) == (0.25, 0.0625, 8) and math.isnan(found.train)
    (table,) = next(iter(error_pictures(subject))).tables
    assert table.rows[0][:5] == ["as it is", 8, None, 25.0, 6.25]


def test_runs_on_other_data_are_left_out(subject):
    write_run(subject.runs / "ablation" / "e", variant(5, "elsewhere", "half"), told(0.5, 0.5, 0.5), source="moon.")
    ablation, _ = error_pictures(subject)
    assert len(ablation.numbers["rows"]) == 4 and "1 run on other data is omitted" in ablation.caption


def test_without_runs_there_is_no_picture(subject, tmp_path):
    assert list(error_pictures(subject._replace(runs=None))) == []
    assert list(error_pictures(subject._replace(runs=tmp_path / "nowhere"))) == []


def test_the_bars_are_the_errors_in_percent_and_unknown_ones_have_no_length():
    nothing = math.nan
    figure = error_bars(
        ["a", "b"], {"training": [0.1, nothing], "test": [0.2, 0.3]}, {}, "title", ["ours"], [0.02, 0.04]
    )
    (ax,) = figure.axes
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([10, 0, 20, 30])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    (lines,) = [found for found in ax.collections if len(found.get_segments()) == 2]
    assert [segment[:, 0].tolist() for segment in lines.get_segments()] == [
        pytest.approx([18, 22]),
        pytest.approx([26, 34]),
    ]
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["10.0", "", "20.0", "30.0"] and figure.get_suptitle() == "title"
