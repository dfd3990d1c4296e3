"""Recipes into a folder: what is finished is kept, what changed is drawn again, and the page judges the claims."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

matplotlib.use("Agg")

import models
from deconv import datasets, figures
from deconv.figures import drawing, figure_dependencies, html_index
from deconv.figures import picture as record
from deconv.figures.fig2_similarity import findings, mean_correlations
from deconv.figures.fig3 import architecture, architecture_pictures
from deconv.figures.fig7 import covered, occlusion_findings
from deconv.figures.picture import Picture
from deconv.figures.published_results import CLAIMS, Finding, Table, published
from deconv.occlusion.sensitivity import OcclusionMaps


@pytest.fixture
def subject():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, 14, 17, 1)).astype(np.uint8)
    listed = tf.data.Dataset.from_tensor_slices((images, np.arange(12, dtype=np.int32) % 3, np.arange(12)))
    data = datasets.ImageSet("noise", "all", listed, ("a", "b", "c"), 12, (14, 17, 1), "noise of this test")
    layers, image = keras.layers, keras.Input((14, 17, 1), name="image")
    maps = layers.MaxPooling2D(2, name="pool1")(layers.Conv2D(3, 3, activation="relu", name="conv1")(image))
    vector = layers.Flatten(name="flatten")(layers.Conv2D(4, 3, strides=2, activation="relu", name="conv2")(maps))
    model = keras.Model(image, layers.Dense(3, "softmax", name="predictions")(vector), name="small")
    model.set_weights([random.standard_normal(weight.shape) * 0.2 for weight in model.get_weights()])
    return figures.Subject(
        model, "noise", data, lambda images: np.asarray(images, np.float32) / 255, square=4, stride=3
    )


# What is finished


def count_runs(monkeypatch):
    ran = []
    run = drawing._run
    monkeypatch.setattr(drawing, "_run", lambda recipe, subject: ran.append(recipe) or run(recipe, subject))
    return ran


@pytest.mark.slow
def test_a_finished_recipe_is_kept_and_its_files_are_not_touched(subject, tmp_path, monkeypatch):
    ran = count_runs(monkeypatch)
    drawn = figures.draw(subject, tmp_path, ["fig3", "filters"])
    assert drawn == {"fig3": ["fig3_architecture"], "filters": ["filters"]}
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("f*_*.*")}
    assert {"fig3_architecture.png", "fig3_architecture.pdf", "fig3_architecture.json"} <= before.keys()
    assert figures.draw(subject, tmp_path, ["fig3", "filters", "fig7"])["fig3"] == drawn["fig3"]
    assert ran == ["fig3", "filters", "fig7"]
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("f*_*.*")}.items()


@pytest.mark.slow
def test_what_was_made_of_something_else_or_has_lost_a_file_is_drawn_again(subject, tmp_path, monkeypatch):
    figures.draw(subject, tmp_path, ["fig3", "filters"])
    ran = count_runs(monkeypatch)
    (tmp_path / "filters.pdf").unlink()
    figures.draw(subject, tmp_path, ["fig3", "filters"])
    figures.draw(subject._replace(seed=1), tmp_path, ["fig3"])
    kernel, *rest = subject.model.get_weights()
    subject.model.set_weights([kernel + 1e-3, *rest])
    figures.draw(subject._replace(seed=1), tmp_path, ["fig3"])
    figures.draw(subject._replace(seed=1), tmp_path, ["fig3"], anew=True)
    assert ran == ["filters", "fig3", "fig3", "fig3"]


def folder_of_pictures(folder):
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (20, 21), (10, 20, 30)).save(folder / name / "0.png")
    return folder


def keys_of(subject):
    return json.dumps(figure_dependencies.dependencies_of(subject, record.provenance(subject)))


def test_another_preprocessing_of_the_same_name_is_another_origin(subject):
    made = [
        subject._replace(preprocess=lambda images, factor=factor: np.asarray(images, "float32") / factor)
        for factor in (255, 255, 256)
    ]
    keys = [keys_of(one) for one in made]
    assert keys[0] == keys[1] != keys[2]  # all three have one name, and two do the same
    partial = [functools.partial(np.multiply, factor) for factor in (0.5, 0.25)]
    assert len({keys_of(subject._replace(preprocess=one)) for one in partial}) == 2
    about = [record.provenance(subject._replace(preprocess=one)) for one in partial]
    assert about[0]["preprocess"] == about[1]["preprocess"] == "numpy.multiply"
    assert about[0]["preprocess_effect"] != about[1]["preprocess_effect"]


def test_a_preprocessing_that_fails_or_is_random_is_known_by_its_name_alone(subject):
    random = np.random.default_rng(0)
    for one in (lambda images: {}["nothing"], lambda images: images + random.normal(size=images.shape)):
        assert record.provenance(subject._replace(preprocess=one))["preprocess_effect"] is None


def test_the_users_images_are_not_changed_by_asking_a_preprocessing_that_changes_them_in_place(subject):
    def in_place(images):
        images //= 2
        return images

    assert record.effect_of(in_place, subject.data) == record.effect_of(lambda images: images // 2, subject.data)


def test_other_pictures_under_the_same_names_are_another_origin(subject, tmp_path):
    folder = folder_of_pictures(tmp_path / "pictures")
    keys = []
    for value, path in ((10, None), (11, "a/0.png"), (11, "a/1.png")):
        if path is not None:
            Image.new("RGB", (20, 21), (value, 20, 30)).save(folder / path)
        keys.append(keys_of(subject._replace(data=datasets.load(folder, "all"))))
    assert len(set(keys)) == 3
    assert record.provenance(subject._replace(data=datasets.load(folder, "all")))["images_sha256"] in keys[-1]
    assert keys_of(subject._replace(data=datasets.load(folder, "all"))) == keys[-1]
    beside = [keys_of(subject._replace(transfer=datasets.load(folder, "all")))]
    os.utime(folder / "a/0.png", (1, 1))
    beside.append(keys_of(subject._replace(transfer=datasets.load(folder, "all"))))
    assert beside[0] != beside[1] != keys_of(subject)


def test_pixels_that_lie_in_no_files_tell_sets_of_the_same_name_apart(subject):
    images, labels, ids = datasets.arrays(subject.data)
    images[-1, -1, -1, -1] ^= 1
    other = tf.data.Dataset.from_tensor_slices((images, labels, ids))
    assert record.content_of(subject.data._replace(dataset=other)) != record.content_of(subject.data)


def test_what_a_network_computes_is_part_of_the_origin_not_its_weights_alone(subject):
    vector = image = keras.Input(subject.model.input_shape[1:], name="image")
    for layer in subject.model.layers[1:]:
        config = layer.get_config() | ({"activation": "elu"} if layer.name == "conv2" else {})
        vector = type(layer).from_config(config)(vector)
    other = keras.Model(image, vector, name=subject.model.name)
    other.set_weights(subject.model.get_weights())
    assert record.weights_hash(other) == record.weights_hash(subject.model)
    assert keys_of(subject._replace(model=other)) != keys_of(subject)


@pytest.mark.slow
def test_figures_are_drawn_again_for_another_preprocessing_and_for_other_pictures(subject, tmp_path, monkeypatch):
    folder, out = folder_of_pictures(tmp_path / "pictures"), tmp_path / "out"
    out.mkdir()
    ran = count_runs(monkeypatch)
    sides = subject.data.image_shape[:2]
    load = functools.partial(datasets.load, folder, "all", image_size=sides, channels=subject.data.image_shape[2])
    figures.draw(subject._replace(data=load()), out, ["fig3"])
    figures.draw(subject._replace(data=load()), out, ["fig3"])
    assert ran == ["fig3"]
    figures.draw(subject._replace(data=load(), preprocess=lambda images: images / np.float32(99)), out, ["fig3"])
    assert ran == ["fig3"] * 2
    Image.new("RGB", (20, 21), (99, 20, 30)).save(folder / "a" / "0.png")
    figures.draw(subject._replace(data=load()), out, ["fig3"])
    assert ran == ["fig3"] * 3
    about = json.loads((out / "fig3_architecture.json").read_text())["provenance"]
    assert about["images_sha256"] == record.content_of(load())


def test_the_page_of_a_subject_leaves_out_the_pictures_of_another_in_the_same_folder(subject, tmp_path):
    figures.draw(subject, tmp_path, ["fig3"])
    kernel, *rest = subject.model.get_weights()
    subject.model.set_weights([kernel + 1e-3, *rest])
    figures.draw(subject, tmp_path, ["filters"])
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'src="filters.png"' in page and "fig3_architecture" not in page
    assert (tmp_path / "fig3_architecture.png").exists()


def test_an_interrupted_drawing_keeps_what_is_finished_and_has_its_page(subject, tmp_path, monkeypatch):
    def interrupted(subject):
        raise KeyboardInterrupt
        yield

    monkeypatch.setitem(figures.RECIPES, "filters", interrupted)
    with pytest.raises(KeyboardInterrupt):
        figures.draw(subject, tmp_path, ["fig3", "filters"])
    assert "fig3_architecture.png" in (tmp_path / "index.html").read_text(encoding="utf-8")
    monkeypatch.undo()
    ran = count_runs(monkeypatch)
    figures.draw(subject, tmp_path, ["fig3", "filters"])
    assert ran == ["filters"]


def test_recipes_are_chosen_by_their_names_or_those_of_the_papers_figures_in_the_papers_order():
    assert figures.chosen(["fig8", "fig2", "table1"]) == ["fig2", "table1"]
    assert figures.chosen(["table5", "fig9", "table2"]) == ["table3", "transfer"]
    assert figures.chosen(None) == figures.chosen([]) == list(figures.RECIPES)
    named = {f"fig{n}" for n in range(1, 10)} | {f"table{n}" for n in range(1, 8)}
    assert named <= {*figures.RECIPES, *figures.ALSO_CALLED}
    with pytest.raises(ValueError, match="no recipe 'fig10', 'table0'; there are fig1, fig2"):
        figures.chosen(["table0", "fig10", "fig1"])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers(subject, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        figures.draw(subject, tmp_path / folder, ["fig1", "fig2", "fig3", "fig7", "pooling", "activations"])
    files = sorted(path.name for path in (tmp_path / "one").glob("*.json"))
    assert len(files) > 8
    for name in files:
        assert (tmp_path / "one" / name).read_text() == (tmp_path / "two" / name).read_text(), name


# Claims and tables


def picture_of(name, *found, tables=()):
    figure = matplotlib.figure.Figure()
    return Picture(name, f"title of {name}", "caption", figure, {"a": 1}, found, tables)


def test_the_page_says_of_every_claim_what_became_of_it(tmp_path):
    about = {"model": "small"}
    yes = Finding("fig4-jumps", True, "it jumps", "7 jumps")
    no = Finding("fig5-output", False, "it is stable", "it <moves>")
    unknown = Finding("fig5-rotation", None, "it turns", "there is one image")
    later = unknown._replace(seen=True, measured="there are two")
    for picture in (picture_of("fig5", no, unknown), picture_of("fig4", yes), picture_of("zzz", later)):
        figures.save(picture, tmp_path, about)
    pictures = figures.read_pictures(tmp_path)
    assert [picture["name"] for picture in pictures] == ["fig4", "fig5", "zzz"]
    said = {finding.claim: (finding.verdict, name) for _, finding, name in figures.verdicts(pictures)}
    assert list(said) == list(CLAIMS)
    assert said["fig4-jumps"] == ("confirmed", "fig4") and said["fig5-output"] == ("not confirmed", "fig5")
    assert said["fig5-rotation"] == ("confirmed", "zzz")  # a picture that could test it beats one that could not
    assert said["table6-voc"] == ("cannot be tested", None)
    html_index.write_index(tmp_path, "Page")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    rows = re.findall(r'<tr id="claim-([\w-]+)">.*?<td class="verdict ([\w-]+)">([\w ]+)</td>', page, re.DOTALL)
    assert [row[0] for row in rows] == list(CLAIMS)
    assert ("fig4-jumps", "confirmed", "confirmed") in rows and (
        "fig5-output",
        "not-confirmed",
        "not confirmed",
    ) in rows
    assert "it &lt;moves&gt;" in page and "7 jumps" in page


def test_tables_stand_under_their_picture_with_dashes_for_what_is_unknown(tmp_path):
    table = Table("ours", ["change", "error"], [["none", 1.25], ["some", None]], "one seed")
    figures.save(picture_of("table3", tables=[table, published("table3")]), tmp_path, {"model": "small"})
    html_index.write_index(tmp_path, "Page")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<td>some</td><td>–</td>" in page and "<td>none</td><td>1.25</td>" in page and "one seed" in page
    assert "<td>without layers 3, 4, 6, 7</td><td>71.1</td><td>71.3</td><td>50.1</td>" in page


def test_the_papers_tables_hold_what_they_sum_up_to():
    wins = [max(row[1:]) == row[3] for row in published("table6").rows[:-1]]
    assert sum(wins) == 5 and len(wins) == 20
    assert np.mean([row[3] for row in published("table6").rows[:-1]]) == pytest.approx(79.0, abs=0.05)
    for number in range(1, 8):
        table = published(f"table{number}")
        assert all(len(row) == len(table.columns) for row in table.rows), number


# Fig. 2's correlations


def test_mean_correlations_of_pictures_worked_out_by_hand():
    up, side = np.array([[1.0, 1], [0, 0]]), np.array([[1.0, 0], [1, 0]])
    tiles = np.array([[up, 3 * up + 7], [side, 1 - side]])[..., None]
    within, between = mean_correlations(tiles)
    assert within == pytest.approx((1 - 1) / 2)  # the first channel's pair correlates fully, the second's is reversed
    assert between == pytest.approx(0)
    assert mean_correlations(np.array([[up, up], [up, up]])[..., None]) == (pytest.approx(1), pytest.approx(1))


def test_mean_correlations_is_numpys_correlation_where_tiles_are_whole_and_passes_over_what_lies_outside():
    tiles = np.random.default_rng(0).normal(size=(3, 4, 5, 6, 2))
    table = np.corrcoef(tiles.reshape(12, -1))
    same = np.kron(np.eye(3), np.ones((4, 4))) > 0
    within, between = mean_correlations(tiles)
    assert within == pytest.approx(table[same & ~np.eye(12, dtype=bool)].mean())
    assert between == pytest.approx(table[~same].mean())
    tiles[2, 1] = np.nan  # a silent unit
    assert mean_correlations(tiles)[0] == pytest.approx(
        np.average([mean_correlations(tiles[:2])[0], mean_correlations(tiles[2:][:, [0, 2, 3]])[0]], weights=[24, 6])
    )


def test_the_claims_of_fig_2_are_decided_by_these_numbers():
    found = findings(["a", "b"], [(1.0, 0.1), (0.5, 0.6)], [(0.8, 0), (0.4, 0)])
    assert [finding.seen for finding in found] == [False, None, True]
    assert "b: 0.50 against 0.60" in found[0].measured and "a: 0.80; b: 0.40" in found[1].measured
    assert [finding.seen for finding in findings(["a"], [(1.0, 0.1)], [(0.8, 0)])] == [True, None, None]
    alone = findings(["a", "b"], [(1.0, np.nan), (0.5, 0.6)], [(0.8, 0), (0.4, 0)])  # a layer of one channel
    assert [finding.seen for finding in alone] == [None, None, None]


# Fig. 3's architecture


def test_zfnet_has_the_papers_sizes_and_lenet_cannot_be_asked():
    network = figures.Subject(models.ZFNet(weights=None, units=8, classes=3), "none", None, None)
    (picture,) = architecture_pictures(network)
    assert picture.findings[0].seen is True
    assert picture.findings[0].measured.startswith("110×110×96, 55×55×96, 26×26×256, 13×13×256, 13×13×384")
    (picture,) = architecture_pictures(network._replace(model=models.LeNet5(weights=None)))
    assert picture.findings[0].seen is None and "28×28 pixels" in picture.findings[0].measured
    other = models.AlexNet(weights=None, units=8, classes=3, input_shape=(224, 224, 3))
    (picture,) = architecture_pictures(network._replace(model=other))
    assert picture.findings[0].seen is False


def test_a_stage_is_a_layer_with_what_follows_it_by_hand():
    image, (conv1, conv2, fc3, fc4, last) = architecture(models.LeNet5(weights=None))
    assert image == (28, 28, 1)
    assert (conv1.what, conv1.shapes, conv1.parameters) == ("6 filters 5×5, ReLU", [(28, 28, 6), (14, 14, 6)], 156)
    assert (conv1.sees, conv1.every, conv2.sees, conv2.every) == ((6, 6), (2, 2), (16, 16), (4, 4))
    assert (fc3.parameters, fc4.parameters, last.what) == (48120, 10164, "10 units, softmax")
    assert (fc3.sees, fc3.every) == (None, None)


# Fig. 7's claims


def maps_of(probability, activation, predicted=None, size=(2, 2), unoccluded=(0.9, 1, 10.0)):
    rows, columns = np.shape(activation)
    predicted = np.ones((rows, columns), int) if predicted is None else predicted
    tops, lefts = np.arange(rows) * 2, np.arange(columns) * 3
    return OcclusionMaps(
        np.array(probability), np.array(predicted), np.array(activation), tops, lefts, size, 1, 0, unoccluded
    )


def test_the_covered_share_is_the_sum_of_magnitudes_under_the_square():
    picture = np.random.default_rng(0).normal(size=(7, 9, 3))
    maps = maps_of(np.zeros((3, 3)), np.zeros((3, 3)), size=(3, 2))
    slow = [
        [np.abs(picture[top : top + 3, left : left + 2]).sum() / np.abs(picture).sum() for left in maps.lefts]
        for top in maps.tops
    ]
    np.testing.assert_allclose(covered(maps, picture), slow, rtol=1e-12)
    assert (covered(maps, 0 * picture) == 0).all()


def test_the_claims_of_fig_7_are_decided_by_the_maps():
    pictures = np.zeros((2, 6, 9, 1))
    pictures[0, 0:2, 0:2], pictures[1, 4:6, 6:8] = 1, -1
    usual = np.full((3, 3), 0.89)
    here, there = (usual - 0.8 * (pictures[n, ::2, ::3, 0] != 0) for n in (0, 1))
    found = [maps_of(here, 10 * here, here < 0.5), maps_of(there, 10 * there, there > 0.5)]
    said, agreement = occlusion_findings(found, pictures)
    assert [finding.seen for finding in said] == [True, True, True]
    np.testing.assert_allclose(agreement, [[1, -1 / 8], [-1 / 8, 1]], atol=1e-12)
    swapped, _ = occlusion_findings(found, pictures[::-1])
    assert [finding.seen for finding in swapped] == [True, False, True]
    calm, _ = occlusion_findings([maps_of(usual, 10 * here), maps_of(usual, 10 * there)], pictures)
    assert [finding.seen for finding in calm] == [False, True, False]


@pytest.mark.parametrize("damaged", ["{half", "[]", '{"fig3": 5}'])
def test_finished_is_a_record_that_a_damaged_file_cannot_break(damaged, subject, tmp_path):
    for name in ("finished.json", "mine.json"):
        (tmp_path / name).write_text(damaged)
    figures.draw(subject, tmp_path, ["fig3"])
    assert json.loads((tmp_path / "finished.json").read_text())["fig3"]["pictures"] == ["fig3_architecture"]


# The page of results


def test_the_page_of_results_sets_the_verdicts_of_several_folders_side_by_side(tmp_path):
    yes, no = (Finding("fig4-jumps", seen, "it jumps | leaps", f"{seen}") for seen in (True, False))
    unknown = Finding("fig5-output", None, "", "no such\nlayer")
    table = Table("errors", ["change", "error"], [["none", None]], "one seed")
    for folder, picture in (("one", picture_of("fig4", yes, tables=[table])), ("two", picture_of("fig4", no, unknown))):
        (tmp_path / folder).mkdir()
        figures.save(picture, tmp_path / folder, {"model": folder, "seed": 3})
    figures.write_results(tmp_path / "r.md", {"A": tmp_path / "one", "B": tmp_path / "two"}, "Results", "Two networks.")
    said = (tmp_path / "r.md").read_text(encoding="utf-8").splitlines()
    claim = CLAIMS["fig4-jumps"].text
    assert said[:3] == ["# Results", "", "Two networks."]
    assert f"| Fig. 4 | {claim} | confirmed | not confirmed |" in said
    assert f"| Fig. 5 | {CLAIMS['fig5-output'].text} | – | – |" in said
    assert f"| Fig. 4 | {claim} | it jumps \\| leaps | confirmed | True |" in said
    assert "| none | – |" in said and "one seed" in said and "Made of: model: two; seed: 3." in said
    assert f"| Fig. 5 | {CLAIMS['fig5-output'].text} | – | cannot be tested | no such layer |" in said
    folders, options = {"B": tmp_path / "one"}, {"keep": tmp_path / "r.md", "against": "A"}
    figures.write_results(tmp_path / "kept.md", folders, "Results", "Two networks.", **options)
    again = (tmp_path / "kept.md").read_text(encoding="utf-8").splitlines()
    assert f"| Fig. 4 | {claim} | confirmed | confirmed |" in again and again.count("## B") == again.count("## A") == 1
    assert "- B: 1 confirmed, 0 not confirmed, 30 cannot be tested. Other than for A: none." in again
    figures.write_results(tmp_path / "kept.md", {"C": tmp_path / "two"}, "Results", **options)
    changed = (tmp_path / "kept.md").read_text(encoding="utf-8")
    assert f"Other than for A: Fig. 4, {claim.rstrip('.')}: confirmed → not confirmed." in changed
    (tmp_path / "other.md").write_text("# No results\n", encoding="utf-8")
    with pytest.raises(ValueError, match="is not a page of results"):
        figures.write_results(tmp_path / "s.md", folders, "Results", keep=tmp_path / "other.md")
    with pytest.raises(ValueError, match="There is no column 'D'"):
        figures.write_results(tmp_path / "s.md", folders, "Results", against="D")
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="There are no figures"):
        figures.write_results(tmp_path / "s.md", {"A": tmp_path / "none"}, "Results")
    assert not (tmp_path / "s.md").exists()


@pytest.mark.slow
def test_the_script_of_the_results_names_what_is_wrong_in_one_line(tmp_path):
    script = Path(__file__).resolve().parent.parent / "scripts" / "write_results.py"

    def run(*arguments):
        command = [sys.executable, script, *arguments, "--out", "new/results.md"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    (tmp_path / "one").mkdir()
    for given, message in (
        ("one", "A folder must be given as NAME=FOLDER, with unique names, received one."),
        ("A=two", "There is no folder 'two'. Pass NAME=FOLDER with an output folder of make_figures.py."),
        ("A=one", "There are no figures with JSON files in 'one'. Draw them first."),
    ):
        result = run(given)
        assert result.returncode == 2 and f"Error: {message}\n" in result.stderr, result.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["one"]
    figures.save(picture_of("fig4", Finding("fig4-jumps", True, "it jumps", "7 jumps")), tmp_path / "one", {"seed": 1})
    assert run("A=one").returncode == 0
    assert "7 jumps" in (tmp_path / "new" / "results.md").read_text(encoding="utf-8")
