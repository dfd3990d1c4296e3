"""Names of every kind in figures: drawn as they are."""

import keras
import matplotlib
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure
from matplotlib.text import Text

matplotlib.use("Agg")

from deconv import datasets, figures, plotting
from deconv.occlusion.sensitivity import OcclusionMaps
from deconv.plotting.plain_text import plain_text, texts

NAMES = [
    "$a",
    "$x_{",
    r"$\frac{1}$",
    "10% of $5 and $6",
    r"a_b^c \alpha {",
    "two\nlines",
    "\u05d0\u05d1\u05d2 \u0627\u0628\u062a",  # from right to left
    "caf\udce9",  # of a name that is not UTF-8
    "n" * 900,
    "",
    "$" * 7,
    r"\$ and \\$",
]


def shown(figure):
    """The texts of a figure as they are drawn; none may be taken for mathematics or TeX."""
    figure.canvas.draw()
    found = set()
    for text in figure.findobj(Text):
        plain, mathematics = text._preprocess_math(text.get_text())
        of_a_number = text.get_text().startswith(r"$\mathdefault{")
        assert (of_a_number or not mathematics) and not text.get_usetex(), text.get_text()
        found.add(plain)
    return found


def occluded(count):
    numbers = np.arange(12).reshape(3, 4) % count
    tops, lefts = np.arange(3), np.arange(4)
    return OcclusionMaps(numbers / 10, numbers, numbers / 10.0, tops, lefts, (2, 2), 1, 0, (0.9, 1, 10.0))


def test_every_function_that_returns_a_figure_draws_its_texts_as_they_are():
    others = {"GAP", "MAPS", "crop", "mosaic", "pixels", "show_picture", "signed"}
    bare = [
        name for name in plotting.__all__ if name not in others and not hasattr(getattr(plotting, name), "__wrapped__")
    ]
    assert bare == []


def drawn(name):
    return name.replace("\udce9", r"\xe9")[:200]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:12]))
def test_a_name_is_drawn_as_it_is_wherever_it_stands(name, tmp_path):
    @plain_text
    def figure():
        made = Figure()
        ax = made.subplots()
        ax.plot([1, 2], label=f"label {name}")
        ax.set(xlabel=f"axis {name}", title=f"panel {name}")
        ax.set_xticks([0, 1], texts([f"tick {name}", "b"]))
        ax.text(0, 0, f"text {name}")
        ax.legend()
        made.suptitle(f"title {name}")
        return made

    made = figure()
    seen = shown(made)
    for place in ("label", "axis", "panel", "tick", "text", "title"):
        assert any(f"{place} {drawn(name)}" in text for text in seen), place
    assert all(len(text) < 600 for text in seen)
    made.savefig(tmp_path / "a.pdf")


def test_a_sheet_of_such_names_is_drawn(tmp_path):
    pictures = np.zeros((1, 5, 6, 1))
    for place, figure in enumerate(
        (
            plotting.unit_strips(np.ones((len(NAMES), 3)), NAMES, "$ and $_{", ["$", "$$", "%"]),
            plotting.occlusion_sheet(pictures, [occluded(8)], pictures, ["$x"], NAMES[:8], "all: $"),
        )
    ):
        assert {drawn(name) for name in NAMES[:8] if len(name) < 30} <= shown(figure)
        figure.savefig(tmp_path / f"{place}.png", dpi=20)
        matplotlib.pyplot.close(figure)


def test_tex_and_the_users_own_settings_have_no_part_and_stay_as_they_are(tmp_path):
    with matplotlib.rc_context({"text.usetex": True}):
        figure = plotting.unit_strips(np.ones((2, 3)), ["a_b", "50 %"], "a & b")
        assert {"a_b", "50 %", "a & b"} <= shown(figure) and matplotlib.rcParams["text.usetex"]
        figure.savefig(tmp_path / "a.png")
    assert matplotlib.rcParams["text.parse_math"]


@pytest.mark.slow
def test_all_recipes_of_classes_called_so_are_drawn(tmp_path):
    names = tuple(NAMES[:4])
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (8, 12, 12, 1)).astype(np.uint8)
    listed = tf.data.Dataset.from_tensor_slices((images, np.arange(8, dtype=np.int32) % 4, np.arange(8)))
    data = datasets.ImageSet("$noise_", "all", listed, names, 8, (12, 12, 1), "noise that costs $5_")
    layers, image = keras.layers, keras.Input((12, 12, 1), name="image")
    maps = layers.MaxPooling2D(2, name="pool1")(layers.Conv2D(2, 3, activation="relu", name="conv1")(image))
    model = keras.Model(image, layers.Dense(4, "softmax", name="dense")(layers.Flatten()(maps)), name="model")
    subject = figures.Subject(
        model, "$w_", data, lambda pixels: np.asarray(pixels, np.float32) / 255, square=4, stride=4
    )
    drawn = figures.draw(subject, tmp_path, ["fig3", "fig7"])
    assert all(drawn.values())
    assert {path.name for path in tmp_path.glob("fig7*")} >= {"fig7_occlusion.png", "fig7_occlusion.pdf"}
    assert "$noise_" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_texts_keep_what_is_no_dollar():
    assert texts(["a_b^c", r"\alpha", "5 %", 3, "two\nlines"]) == ["a_b^c", r"\alpha", "5 %", "3", "two\nlines"]
