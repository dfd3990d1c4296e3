"""Sites of the explorer: numbers equal to those of the other functions, and any model, data set and name."""

import json
import re
from html.parser import HTMLParser

import keras
import numpy as np
import pytest
from PIL import Image

import deconv
from deconv.explorer.channel_ablation import ChannelAblation
from deconv.explorer.filters_below import filters_below
from deconv.explorer.page_names import page_names
from deconv.explorer.rendering import read_data
from deconv.graph import find, walk
from deconv.graph.receptive_field import receptive_windows

HOSTILE = (
    "<script>alert(1)",
    "<script>alert(1)</script>",
    "\"quotes\" 'and' `more`",
    "a/b\\c",
    "with spaces  and #hash?query&amp;",
    "日本語 слой",
    "x" * 200,
    "../../etc",
    "INDEX",
    "index",
    "conv5",
    "Conv5",
)


def images_of(count, side=12, channels=1, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (count, side, side, channels)).astype(np.float32)


def classifier(channels=1, head="softmax", classes=3, names=("one", "two")):
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((12, 12, channels)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(5, 3, activation="relu", name=names[0]),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(4, 3, name=names[1]),
            keras.layers.Activation("relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation=head, name="outputs"),
        ],
        name="small",
    )


class Links(HTMLParser):
    """Addresses, inline scripts, inline styles and event handlers of a page."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.inline, self.tags, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        self.addresses += [given[name] for name in ("href", "src") if name in given]
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        self.inline += ["script"] if tag == "script" and "src" not in given else []
        self.inline += ["style"] if tag == "style" else []

    def handle_data(self, data):
        self.text += data


def check_site(site):
    """Links lead to files of the site, nothing is inline, data have no NaN; return the data of the pages."""
    data = {file.stem: read_data(file) for file in (site / "data").glob("*.js")}
    for page in site.glob("*.html"):
        found = Links(page.read_text(encoding="utf-8"))
        assert found.inline == []
        for address in found.addresses:
            if not address.startswith("#"):
                assert re.fullmatch(r"[A-Za-z0-9_./-]+", address) and (site / address).is_file(), (page.name, address)
        assert "nan" not in re.split(r"\W+", found.text.lower())
    for file in site.rglob("*.js"):
        assert "NaN" not in file.read_text(encoding="utf-8").replace("?? NaN", "") and "</" not in file.read_text()
    for layer in data["site"]["layers"]:
        own = data[layer["page"]]
        assert len(own["units"]) == layer["channels"]
        for channel, unit in enumerate(own["units"]):
            known = {*unit["ids"], *(example[2] for example in unit["quantiles"])}
            assert all((site / "pictures" / "images" / f"{number}{own['suffix']}").is_file() for number in known)
            sheet = site / "pictures" / own["page"] / f"{channel}{own['suffix']}"
            assert sheet.is_file() == (own["shown"][channel] and not own["reason"])
            assert sum(count for _, count in unit["bins"]) == own["images"]
    return data


@pytest.fixture(scope="module")
def model():
    return classifier()


@pytest.fixture(scope="module")
def built(model, tmp_path_factory):
    images, labels = images_of(20), np.arange(20) % 3
    site = tmp_path_factory.mktemp("explorer") / "site"
    page = deconv.explore(model, (images, labels), site, k=4, label_names=["a", "b", "c"], image_count=5, batch_size=8)
    assert page == site / "index.html"
    return images, labels, site, check_site(site)


@pytest.mark.slow
def test_a_page_shows_the_numbers_of_top_activations_and_of_the_maps(model, built):
    images, labels, _, data = built
    for layer in ("one", "two"):
        tops = deconv.top_activations(model, (images, labels), layer, 4)[layer]
        maps = deconv.activations(model, images, layer)[layer]
        maxima = maps.max(axis=(1, 2))
        own = data[layer]
        np.testing.assert_allclose(own["maximum"], maxima.max(axis=0), rtol=1e-4)
        np.testing.assert_allclose(own["mean"], maxima.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(own["inactive"], (maxima <= 0).mean(axis=0), rtol=1e-4)
        for channel, unit in enumerate(own["units"]):
            np.testing.assert_array_equal(unit["ids"], tops.ids[channel])
            np.testing.assert_array_equal(unit["windows"], tops.windows[channel])
            np.testing.assert_allclose(unit["values"], tops.values[channel], rtol=1e-5)
            for first, last, number, value, label, window in unit["quantiles"]:
                assert 5 <= first <= last <= 95 and label == labels[number]
                np.testing.assert_allclose(maxima[number, channel], value, rtol=1e-4, atol=1e-6)
                place = np.unravel_index(maps[number, ..., channel].argmax(), maps.shape[1:3])
                np.testing.assert_array_equal(window, receptive_windows(model, layer, [place])[0])
            for label, mean, active, count in unit["classes"]:
                rectified = np.maximum(maxima[labels == label, channel], 0)
                np.testing.assert_allclose(mean, rectified.mean(), rtol=1e-4, atol=1e-6)
                assert (active, count) == ((rectified > 0).sum(), len(rectified))
            correlations = np.corrcoef(maxima.T)[channel]
            for other, value in unit["similar"]:
                np.testing.assert_allclose(value, correlations[other], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_effect_of_a_channel_is_that_of_an_ablation_by_hand(model, built):
    images, _, _, data = built
    upper = keras.Sequential(model.layers[4:])  # the layers above "two"
    unit = next(one for one in data["two"]["units"] if "ablation" in one)
    channel = data["two"]["units"].index(unit)
    excited = [number for number, value in zip(unit["ids"], unit["values"], strict=True) if value > 0]
    maps = deconv.activations(model, images[excited], "two")["two"]
    without = maps.copy()
    without[..., channel] = 0
    outputs = keras.ops.convert_to_numpy(upper(maps))
    change = (keras.ops.convert_to_numpy(upper(without)) - outputs).mean(axis=0)
    assert unit["ablation"]["images"] == len(excited)
    shown = [*unit["ablation"]["gains"], *unit["ablation"]["losses"]]
    assert {label for label, _, _ in shown} == set(np.flatnonzero(change).tolist())
    for label, value, before in shown:
        np.testing.assert_allclose(value, change[label], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(before, outputs[:, label].mean(), rtol=1e-4)


def test_filters_below_are_the_sums_of_weights_also_through_flattening_and_in_groups(model):
    model_graph = walk(model)
    kernel = model.get_layer("two").kernel.numpy()
    below = filters_below(model_graph, find(model_graph, "two"), {"one", "two"})
    assert below.layer == "one"
    np.testing.assert_allclose(below.weights, kernel.sum(axis=(0, 1)).T, rtol=1e-5)
    dense = filters_below(model_graph, find(model_graph, "outputs"), {"two"})
    kernel = model.get_layer("outputs").kernel.numpy().reshape(3, 3, 4, 3)
    np.testing.assert_allclose(dense.weights, kernel.sum(axis=(0, 1)).T, rtol=1e-4, atol=1e-6)
    assert filters_below(model_graph, find(model_graph, "one"), {"one", "two"}) is None
    grouped = keras.Sequential(
        [keras.Input((6, 6, 4)), keras.layers.Conv2D(4, 1, name="a"), keras.layers.Conv2D(6, 3, groups=2, name="b")]
    )
    model_graph = walk(grouped)
    weights = filters_below(model_graph, find(model_graph, "b"), {"a"}).weights
    sums = grouped.get_layer("b").kernel.numpy().sum(axis=(0, 1))
    np.testing.assert_allclose(weights[:3, :2], sums[:, :3].T, rtol=1e-5)
    np.testing.assert_allclose(weights[3:, 2:], sums[:, 3:].T, rtol=1e-5)
    assert not weights[:3, 2:].any() and not weights[3:, :2].any()


def test_an_ablation_inside_a_branched_model_is_that_by_hand():
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 1))
    first = keras.layers.Conv2D(3, 3, padding="same", name="first")(image)
    second = keras.layers.Conv2D(3, 3, padding="same", name="second")(first)
    total = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([first, second]))
    model = keras.Model(image, keras.layers.Dense(2)(total))
    model_graph, images = walk(model), images_of(3, 6)
    weights, bias = model.layers[-1].get_weights()
    for layer in ("first", "second"):
        outputs, changes = ChannelAblation(model_graph, find(model_graph, layer)).changes(
            images, np.array([2, 0]), np.array([1, 2]), batch_size=1
        )
        np.testing.assert_allclose(outputs, model(images), rtol=1e-4)
        for change, number, channel in zip(changes, (2, 0), (1, 2), strict=True):
            maps = deconv.activations(model, images, ["first", "second"])
            one = maps["first"][number : number + 1].copy()
            if layer == "first":
                one[..., channel] = 0
                two = keras.ops.convert_to_numpy(model.get_layer("second")(one))
            else:
                two = maps["second"][number : number + 1].copy()
                two[..., channel] = 0
            by_hand = (one + two).mean(axis=(1, 2)) @ weights + bias
            np.testing.assert_allclose(change, by_hand[0] - outputs[number], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_the_image_page_has_the_predictions_of_the_model(model, built):
    images, labels, site, data = built
    assert len(data["images"]) == 5
    for entry in data["images"]:
        outputs = model.predict(images[[entry["id"]]], verbose=0)[0]
        assert entry["label"] == labels[entry["id"]]
        assert [number for number, _ in entry["predicted"]] == np.argsort(-outputs).tolist()
        np.testing.assert_allclose([value for _, value in entry["predicted"]], np.sort(outputs)[::-1], rtol=1e-4)
        assert entry["occlusion"]["target"] == outputs.argmax()
        assert (site / "pictures" / "occlusion" / f"{entry['id']}{data['site']['suffix']}").is_file()
        maps = deconv.activations(model, images[[entry["id"]]], "two")["two"]
        for channel, value, _ in dict(entry["layers"])["two"]:
            np.testing.assert_allclose(value, maps[..., channel].max(), rtol=1e-4)


@pytest.mark.slow
def test_a_second_call_keeps_finished_layers_and_an_interrupted_one_goes_on(tmp_path, monkeypatch):
    from deconv.explorer import site as module

    model, images = classifier(), (images_of(8), np.arange(8) % 2)
    built, original = [], module.build_layer

    def counting(material, layer, *arguments):
        built.append(layer)
        if len(built) == 2:
            raise KeyboardInterrupt
        return original(material, layer, *arguments)

    monkeypatch.setattr(module, "build_layer", counting)
    with pytest.raises(KeyboardInterrupt):
        deconv.explore(model, images, tmp_path, k=2, image_count=2)
    deconv.explore(model, images, tmp_path, k=2, image_count=2)
    assert built == ["one", "two", "two"]
    deconv.explore(model, images, tmp_path, k=2, image_count=2)
    assert built == ["one", "two", "two"]
    check_site(tmp_path)


def test_names_of_files_are_plain_and_differ_also_without_case():
    names = page_names(HOSTILE)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name) for name in names.values())
    assert len({name.lower() for name in names.values()} | {"index", "images"}) == len(HOSTILE) + 2
    assert names["conv5"] == "conv5"


@pytest.mark.slow
def test_hostile_names_of_layers_classes_and_models_are_text(tmp_path):
    keras.utils.set_random_seed(0)
    image = x = keras.Input((10, 10, 1))
    allowed = ["a>b", "..", "x" * 200, "INDEX", "index", "Conv5", "conv5"]  # TensorFlow refuses other letters
    for name in allowed:
        x = keras.layers.Conv2D(2, 1, activation="relu", name=name)(x)
    x = keras.layers.Flatten()(x)
    model = keras.Model(image, keras.layers.Dense(len(HOSTILE))(x), name="<b>model 'of' \"me\"")
    images = (images_of(4, 10) / 255, np.arange(4))
    deconv.explore(
        model,
        images,
        tmp_path,
        k=2,
        class_names=HOSTILE,
        label_names=HOSTILE,
        image_count=2,
        about={"<i>": "</dl><script>"},
    )
    data = check_site(tmp_path)
    assert [layer["layer"] for layer in data["site"]["layers"]] == allowed
    assert data["site"]["classes"] == list(HOSTILE)
    for page in tmp_path.glob("*.html"):
        found = Links(page.read_text(encoding="utf-8"))
        assert "<b>model" in found.text and "b" not in found.tags
        assert found.tags.count("script") <= 6
    assert "</dl><script>" in Links((tmp_path / "index.html").read_text(encoding="utf-8")).text


def nested():
    keras.utils.set_random_seed(0)
    base = keras.Sequential(
        [keras.Input((12, 12, 3)), keras.layers.Conv2D(4, 3, activation="relu", name="deep")], name="base"
    )
    image = keras.Input((12, 12, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(base(image))
    return keras.Model(image, keras.layers.Dense(2, activation="softmax")(pooled))


def without_classes():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Conv2D(4, 3, activation="relu", name="only")])


def with_an_empty_layer():
    model = classifier()
    kernel, bias = model.get_layer("two").get_weights()
    model.get_layer("two").set_weights([-np.abs(kernel), -np.ones_like(bias)])
    return model


MODELS = {
    "nested": (nested, 3, 4),
    "without classes": (without_classes, 1, 4),
    "an empty layer": (with_an_empty_layer, 1, 4),
    "sigmoid": (lambda: classifier(3, "sigmoid", 4), 3, 4),
    "one output": (lambda: classifier(1, "sigmoid", 1), 1, 4),
    "one image": (classifier, 1, 1),
    "three images": (classifier, 1, 3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_any_model_and_few_images_without_labels_give_whole_pages(name, tmp_path):
    make, channels, count = MODELS[name]
    deconv.explore(make(), images_of(count, channels=channels), tmp_path)
    data = check_site(tmp_path)
    assert len(data["images"]) == count
    if name == "an empty layer":
        assert not any(data["two"]["shown"]) and data["two"]["inactive"] == [1.0] * 4
        assert "4 never active (100" in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_several_labels_per_image_are_left_out(tmp_path):
    import tensorflow as tf

    labels = (np.arange(12).reshape(4, 3) % 2).astype(np.int8)
    dataset = tf.data.Dataset.from_tensor_slices((images_of(4), labels)).map(lambda image, label: image)
    deconv.explore(classifier(head="sigmoid"), dataset, tmp_path, "two", k=2)
    assert all(unit["classes"] == [] for unit in check_site(tmp_path)["two"]["units"])


@pytest.mark.slow
def test_a_dense_layer_has_pages_and_its_receptive_field_is_the_image(tmp_path):
    deconv.explore(classifier(), images_of(5), tmp_path, "outputs", k=2, image_count=1)
    own = check_site(tmp_path)["outputs"]
    assert own["field"] == "whole image" and own["units"][0]["windows"] == [[0, 0, 12, 12]] * 2


@pytest.mark.slow
def test_optimised_images_and_explanations_are_written_if_wanted(tmp_path):
    images = images_of(5)
    deconv.explore(
        classifier(),
        images,
        tmp_path,
        "one",
        k=2,
        image_count=1,
        attribution="gradient",
        visualize={"steps": 2, "progress": False},
    )
    own = check_site(tmp_path)["one"]
    for kind in ("optimised", "attribution"):
        file = tmp_path / "pictures" / "one" / f"{kind}-4{own['suffix']}"
        assert Image.open(file).size == (12, 12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        ({"attribution": "magic"}, "attribution must be one of gradient"),
        ({"contrast": 0}, "contrast must be above 0 and at most 100; received 0"),
        ({"class_names": ["a"]}, "class_names must have one name for each of the 3 outputs"),
        ({"layers": "nine"}, "has no layer 'nine'"),
        ({"image_count": 0}, "image_count must be a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
    ),
)
def test_bad_arguments_are_named_before_anything_is_written(model, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        deconv.explore(model, images_of(2), tmp_path / "site", **arguments)
    assert not (tmp_path / "site").exists()


def test_scripts_of_data_hold_no_markup_and_can_be_read_back(tmp_path):
    from deconv.explorer.rendering import write_data

    value = {"text": "</script><!-- \u2028 ☃ \"'", "numbers": [1, 2.5, None]}
    write_data(tmp_path / "x.js", 'a"b', value)
    text = (tmp_path / "x.js").read_text(encoding="ascii")
    assert "<" not in text and read_data(tmp_path / "x.js") == value
    with pytest.raises(ValueError, match="Out of range float"):
        write_data(tmp_path / "y.js", "y", [np.nan])
    assert not (tmp_path / "y.js").exists()
    assert json.dumps(value)


def test_hostile_names_of_layers_are_text_in_every_template(tmp_path):
    from deconv.explorer.rendering import write_page

    pages = page_names(HOSTILE)
    layers = [{"layer": name, "page": page, "channels": 2, "never": 1} for name, page in pages.items()]
    steps = [one | {"name": one["layer"], "kind": "<i>", "shape": "1 × 2", "field": "<u>"} for one in layers]
    values = {"model": HOSTILE[0], "layers": layers, "images": "3"}
    write_page(tmp_path / "index.html", "overview.html", steps=steps, about={"<p>": HOSTILE[0]}, shape=(1, 2), **values)
    write_page(tmp_path / "images.html", "images.html", page="images", **values)
    for one in layers:
        write_page(tmp_path / f"{one['page']}.html", "layer.html", layer=one, page=one["page"], **values)
    for page in tmp_path.glob("*.html"):
        found = Links(page.read_text(encoding="utf-8"))
        assert found.inline == [] and not {"i", "u"} & set(found.tags)
        assert all(name in found.text for name in HOSTILE)
        linked = [address for address in found.addresses if address.endswith(".html")]
        assert set(linked) == {"index.html", "images.html", *(f"{name}.html" for name in pages.values())}
        assert all((tmp_path / address).is_file() for address in linked)
