"""Training: the stream, the folder, the state; and that an interrupted run ends where an uninterrupted one does."""

import csv
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from signalled import fit_until
from typer.testing import CliRunner

from deconv import datasets
from models import training
from models.loading.atomic_files import replacing
from models.training.augmentation import random_affine
from models.training.curve import learning_curve
from models.training.state import load_state, save_state

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "train_lenet5.py"


# ---------------------------------------------------------------------------------------------- the stream


def numbered(count, height=4, width=6):
    """Examples that can be told apart: picture n is full of n, its label is n, and its id is ignored."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, height, width, 1))
    return tf.data.Dataset.from_tensor_slices((images, np.arange(count, dtype=np.int32), np.arange(count)))


def stream(count=10, **changes):
    arguments = {"batch_size": 4, "epochs": 3, "seed": 5, "preprocess": lambda images: tf.cast(images, tf.float32)}
    batches = training.training_batches(numbered(count), count, **{**arguments, **changes})
    return [(images, labels) for images, labels in batches.as_numpy_iterator()]


def labels_by_epoch(batches, count=10):
    return np.concatenate([labels for _, labels in batches]).reshape(-1, count)


def test_every_epoch_shows_every_example_once_in_an_order_of_its_own():
    batches = stream()
    assert [len(labels) for _, labels in batches] == [4, 4, 2] * 3
    epochs = labels_by_epoch(batches)
    assert (np.sort(epochs, axis=1) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 3
    assert all((images == labels[:, None, None, None]).all() for images, labels in batches)


def test_a_stream_that_starts_late_is_the_tail_of_the_whole_stream():
    everything, late = (stream(augment=random_affine, first_epoch=first) for first in (0, 2))
    assert len(late) == 3
    for (images, labels), (late_images, late_labels) in zip(everything[-3:], late, strict=True):
        np.testing.assert_array_equal(images, late_images)
        np.testing.assert_array_equal(labels, late_labels)


def test_the_seed_decides_the_order():
    assert labels_by_epoch(stream()).tolist() == labels_by_epoch(stream()).tolist()
    assert labels_by_epoch(stream()).tolist() != labels_by_epoch(stream(seed=6)).tolist()


def test_a_batch_is_augmented_by_a_seed_of_its_own():
    seeds = []

    def note(images, seed):
        return tf.cast(images, tf.float32) * 0 + tf.cast(seed[1], tf.float32)

    for images, _ in stream(augment=note):
        seeds.append(float(images.max()))
    assert seeds == list(range(9))


def test_test_batches_keep_the_order():
    batches = training.test_batches(numbered(7), 7, batch_size=3, preprocess=lambda images: images / 2)
    assert [labels.tolist() for _, labels in batches.as_numpy_iterator()] == [[0, 1, 2], [3, 4, 5], [6]]
    assert next(batches.as_numpy_iterator())[0][2, 0, 0, 0] == 1.0


# ---------------------------------------------------------------------------------------------- augmentation


def test_augmentation_by_nothing_changes_nothing():
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 12, 2), np.uint8)
    same = random_affine(images, (1, 2), rotation=0.0, scale=0.0, shear=0.0, shift=0.0)
    np.testing.assert_allclose(same, images, atol=1e-3)


def bilinear(image, y, x):
    """The image at a point between its pixels, 0 outside: slow, by the definition."""
    height, width = image.shape
    total = 0.0
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for col in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < height and 0 <= col < width:
                total += (1 - abs(y - row)) * (1 - abs(x - col)) * image[row, col]
    return total


def test_augmentation_equals_a_slow_resampling():
    images = np.random.default_rng(1).integers(0, 256, (2, 7, 10, 1), np.uint8)
    seed = (3, 4)
    amounts = tf.random.stateless_uniform((2, 6), seed, -1.0, 1.0).numpy().astype(float)
    expected = np.zeros(images.shape)
    for n, (turn, slant, wider, taller, right, down) in enumerate(amounts):
        angle = np.deg2rad(20 * turn)
        rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = (rotate + np.array([[0, 0.3 * slant], [0, 0]])) * [1 + 0.2 * wider, 1 + 0.2 * taller]
        for row in range(7):
            for col in range(10):
                x, y = matrix @ [col - 4.5, row - 3.0] + [4.5 + 1.5 * right, 3.0 + 1.5 * down]
                expected[n, row, col, 0] = bilinear(images[n, :, :, 0].astype(float), y, x)
    changed = random_affine(images, seed, rotation=20.0, scale=0.2, shear=0.3, shift=1.5)
    np.testing.assert_allclose(changed, expected, atol=0.01)


def test_augmentation_depends_on_its_seed_alone_and_differs_from_image_to_image():
    images = np.repeat(np.random.default_rng(2).integers(0, 256, (1, 28, 28, 1), np.uint8), 2, axis=0)
    first, again, other = (random_affine(images, seed).numpy() for seed in ((0, 1), (0, 1), (0, 2)))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other) and not np.allclose(first[0], first[1])
    assert first.min() >= 0 and first.max() <= 255.001


# ---------------------------------------------------------------------------------------------- files and folder


def test_a_file_is_whole_or_the_old_one(tmp_path):
    target = tmp_path / "numbers.txt"
    with replacing(target) as partial:
        partial.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as partial:
        partial.write_text("ne")
        raise RuntimeError("interrupted")
    assert target.read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["numbers.txt"]


ARGUMENTS = {"dataset": "mnist-5k", "epochs": 4, "seed": 0}


def run_folder(path, results="none"):
    folder = training.RunFolder(path, "net")
    folder.start({"arguments": ARGUMENTS})
    if results != "none":
        folder.finish(results)
    return folder


def test_a_new_or_empty_folder_may_be_used_and_looking_writes_nothing(tmp_path):
    assert training.RunFolder(tmp_path / "a" / "b", "net").check(ARGUMENTS, resume=False) is None
    assert training.RunFolder(tmp_path, "net").check(ARGUMENTS, resume=True) is None
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_gone_on_with_only_when_asked_to_and_with_the_same_arguments(tmp_path):
    folder = run_folder(tmp_path)
    assert folder.check(ARGUMENTS, resume=True) is None
    with pytest.raises(training.RunFolderError, match=r"holds an unfinished run\. Pass --resume"):
        folder.check(ARGUMENTS, resume=False)
    with pytest.raises(training.RunFolderError, match="made with other arguments: epochs 4 -> 5, seed 0 -> 1"):
        folder.check({**ARGUMENTS, "epochs": 5, "seed": 1}, resume=True)


def test_a_finished_run_is_not_written_over(tmp_path):
    folder = run_folder(tmp_path, results={"test_accuracy": 0.5})
    with pytest.raises(training.RunFolderError, match="holds a finished run"):
        folder.check(ARGUMENTS, resume=False)
    assert folder.check(ARGUMENTS, resume=True) == {"test_accuracy": 0.5}


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(training.RunFolderError, match="holds other files and no run"):
        training.RunFolder(tmp_path, "net").check(ARGUMENTS, resume=False)
    with pytest.raises(training.RunFolderError, match=r"cannot be a folder: '.*thesis\.txt' is a file"):
        training.RunFolder(tmp_path / "thesis.txt" / "run", "net").check(ARGUMENTS, resume=False)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who may write anywhere
    with pytest.raises(training.RunFolderError, match="cannot be written: no permission"):
        training.RunFolder(tmp_path / "run", "net").check(ARGUMENTS, resume=False)


DATA = {"train": "8 pictures", "train_size": 8, "test": "2 pictures", "test_size": 2, "classes": ["cat", "dog"]}


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"train": "9 pictures", "train_size": 9}, "train '8 pictures' -> '9 pictures', train_size 8 -> 9"),
        ({"classes": ["cat", "cow"]}, "classes ['cat', 'dog'] -> ['cat', 'cow']"),
    ],
)
def test_a_run_is_not_gone_on_with_on_other_data(tmp_path, changes, difference):
    folder = training.RunFolder(tmp_path, "net")
    folder.check_data(DATA)  # no run, nothing to differ from
    folder.start({"arguments": ARGUMENTS, "data": DATA})
    folder.check_data(json.loads(json.dumps(DATA)))
    with pytest.raises(training.RunFolderError, match=f"started on other data: {re.escape(difference)}"):
        folder.check_data({**DATA, **changes})


def test_a_failed_run_is_taken_back_unless_an_epoch_is_finished(tmp_path):
    folder = run_folder(tmp_path)
    folder.withdraw()
    assert not list(tmp_path.iterdir())
    folder = run_folder(tmp_path)
    folder.state_file.write_bytes(b"an epoch")
    folder.withdraw()
    assert folder.record_file.exists() and folder.state_file.exists()


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(training.RunFolderError, match=r"training\.json' is not the record of a run"):
        training.RunFolder(tmp_path, "net").check(ARGUMENTS, resume=True)


# ---------------------------------------------------------------------------------------------- state and loop


def small_net(dropout=0.5, schedule=None):
    model = keras.Sequential(
        [
            keras.Input((4, 6, 1)),
            keras.layers.Flatten(),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(10, activation="softmax"),
        ],
        name="net",
    )
    schedule = schedule or keras.optimizers.schedules.CosineDecay(0.01, 100)
    usual = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    model.compile(keras.optimizers.AdamW(schedule), **usual, jit_compile=False)  # as in a run that is repeatable
    return model


class Exploding(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that is infinite from a step on."""

    def __init__(self, step):
        self.step = step

    def __call__(self, step):
        return tf.where(step < self.step, 0.01, np.inf)


def train_on(model, examples, steps):
    images, labels = examples
    for _ in range(steps):
        model.train_on_batch(images, labels)
    return [np.array(weight) for weight in model.get_weights()]


@pytest.mark.slow
def test_a_state_put_back_goes_on_as_if_nothing_had_happened(tmp_path):
    images = np.random.default_rng(0).random((10, 4, 6, 1), np.float32)
    examples = images, np.arange(10)
    model = small_net()
    train_on(model, examples, 3)
    save_state(tmp_path / "state.npz", model, [{"epoch": 1, "loss": 0.1 + 0.2}], 1.5)
    expected = train_on(model, examples, 3)
    other = small_net()  # of other weights, another dropout seed, an optimizer that has not begun
    history, seconds = load_state(tmp_path / "state.npz", other)
    assert (history, seconds) == ([{"epoch": 1, "loss": 0.1 + 0.2}], 1.5)
    for mine, theirs in zip(train_on(other, examples, 3), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_state_of_another_model_or_a_damaged_one_is_refused(tmp_path):
    save_state(tmp_path / "state.npz", small_net(), [], 0.0)
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="other")
    other.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match="belongs to another model or optimizer than 'other'"):
        load_state(tmp_path / "state.npz", other)
    (tmp_path / "state.npz").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"state\.npz' cannot be read"):
        load_state(tmp_path / "state.npz", other)


def forged(path, change):
    """A saved state with a change of its arrays, among them `history` and `seconds`."""
    save_state(path, small_net(), [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}], 1.5)
    with np.load(path) as file:
        arrays = dict(file)
    change(arrays)
    np.savez(path, **arrays)
    return path


def history_of(value):
    return lambda arrays: arrays.update(history=np.array(json.dumps(value)))


FORGERIES = {
    "a weight that is NaN": (lambda arrays: arrays["0001"].__setitem__((0, 0), np.nan), "is not all finite"),
    "a weight that is infinite": (lambda arrays: arrays["0002"].fill(np.inf), "is not all finite"),
    "a weight of another dtype": (
        lambda arrays: arrays.update({"0001": arrays["0001"].astype(float)}),
        "another model",
    ),
    "a weight of another shape": (lambda arrays: arrays.update({"0001": arrays["0001"].T}), "another model"),
    "a weight less": (lambda arrays: arrays.pop("0002"), "another model"),
    "an array more": (lambda arrays: arrays.update(more=np.zeros(2)), "another model"),
    "no history": (lambda arrays: arrays.pop("history"), "it has no history or no duration"),
    "no seconds": (lambda arrays: arrays.pop("seconds"), "it has no history or no duration"),
    "seconds that are a text": (lambda arrays: arrays.update(seconds=np.array("1.5")), "no history or no duration"),
    "seconds below 0": (lambda arrays: arrays.update(seconds=np.array(-1.0)), "its duration is not a number"),
    "seconds that are NaN": (
        lambda arrays: arrays.update(seconds=np.array(np.nan)),
        "its duration is not a number",
    ),
    "a history that is an object": (history_of({"epoch": 1}), "its history is not a list"),
    "a history that is null": (history_of(None), "its history is not a list"),
    "a history of numbers": (history_of([1, 2]), "expected an object, received a whole number"),
    "a history with NaN": (history_of([{"epoch": 1, "loss": float("nan")}]), "it contains NaN"),
    "a history with a text": (history_of([{"epoch": 1, "loss": "0.5"}]), "'loss' must be a whole number or a number"),
    "a history without epochs": (history_of([{"loss": 0.5}]), "it has no 'epoch'"),
    "a history that begins later": (history_of([{"epoch": 2, "loss": 0.5}]), "is not that of epoch 1"),
    "a history that changes": (history_of([{"epoch": 1, "loss": 1.0}, {"epoch": 2}]), "it has no 'loss'"),
    "a history nested deeply": (lambda arrays: arrays.update(history=np.array("[" * 50000)), "nested too deeply"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_state_that_no_run_writes_is_refused_by_name_and_changes_nothing(tmp_path, name):
    change, message = FORGERIES[name]
    path, model = forged(tmp_path / "state.npz", change), small_net()
    before = [np.array(variable) for variable in model.variables]
    with pytest.raises(ValueError, match=r"The saved state '.*state\.npz' .*" + re.escape(message)):
        load_state(path, model)
    for variable, was in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, was)


def test_a_state_whose_history_is_compressed_is_not_inflated(tmp_path):
    path, model = tmp_path / "state.npz", small_net()
    save_state(path, model, [], 0.0)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez_compressed(path, **{**arrays, "history": np.array(" " * 10**6)})
    with pytest.raises(ValueError, match="its history is compressed"):
        load_state(path, model)


def test_training_writes_a_checkpoint_at_each_epoch_of_figure_4_that_is_reached(tmp_path):
    folder, lines = run_folder(tmp_path / "run"), []
    preprocess = lambda images: tf.cast(images, tf.float32)  # noqa: E731
    test = training.test_batches(numbered(10), 10, batch_size=5, preprocess=preprocess)
    model = small_net()
    history, _ = training.train(
        model, numbered(10), 10, test, folder, epochs=6, batch_size=4, seed=0, preprocess=preprocess, say=lines.append
    )
    written = sorted(path.name for path in (folder.path / "checkpoints").iterdir())
    assert written == ["epoch_001.keras", "epoch_002.keras", "epoch_005.keras"]
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6] and len(lines) == 6
    assert model.optimizer.iterations.numpy() == 6 * 3
    with open(folder.history_file, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["test_loss"]) for row in rows] == [row["test_loss"] for row in history]
    assert history[-1]["learning_rate"] == pytest.approx(0.005 * (1 + np.cos(np.pi * 18 / 100)), rel=1e-5)


@pytest.mark.slow
def test_an_epoch_is_measured_on_every_test_image_once(tmp_path):
    preprocess = lambda images: tf.cast(images, tf.float32)  # noqa: E731
    test = training.test_batches(numbered(10), 10, batch_size=4, preprocess=preprocess)  # of 4, 4 and 2
    model, settings = small_net(), {"batch_size": 4, "seed": 0, "preprocess": preprocess, "say": lambda line: None}
    for epochs in (1, 2):  # from the start, and gone on with
        history, _ = training.train(model, numbered(10), 10, test, run_folder(tmp_path), epochs=epochs, **settings)
        probabilities = model.predict(np.concatenate([images for images, _ in test]), verbose=0)
        loss = -np.log(probabilities[range(10), range(10)]).mean()
        assert history[-1]["test_loss"] == pytest.approx(loss, rel=1e-4)
        assert history[-1]["test_accuracy"] == pytest.approx((probabilities.argmax(axis=1) == range(10)).mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "finished", "message"),
    [(0, 0, "after 2 steps of epoch 1"), (4, 1, "after 3 steps of epoch 2"), (8, 2, "after epoch 3")],
)
def test_a_run_that_diverges_stops_and_keeps_the_last_finite_epoch(tmp_path, step, finished, message):
    def train_until(epochs):
        model, folder = small_net(schedule=Exploding(step)), training.RunFolder(tmp_path, "net")
        preprocess = lambda images: tf.cast(images, tf.float32)  # noqa: E731
        test = training.test_batches(numbered(10), 10, batch_size=5, preprocess=preprocess)
        settings = {"epochs": epochs, "batch_size": 4, "seed": 0, "preprocess": preprocess}
        training.train(model, numbered(10), 10, test, folder, **settings, say=lambda line: None)

    run_folder(tmp_path)
    for _ in range(2):  # going on ends in the same place
        with pytest.raises(training.DivergedError, match=rf"diverged: the .*loss is nan {message}\..*--learning-rate"):
            train_until(epochs=4)
        assert len(list((tmp_path / "checkpoints").glob("*"))) == finished
        assert (tmp_path / "state.npz").exists() == bool(finished)
    if finished:
        history, _ = load_state(tmp_path / "state.npz", model := small_net())
        assert len(history) == finished and all(np.isfinite(weight).all() for weight in model.get_weights())


def test_evaluation_rounds_weights_to_half_precision_and_puts_them_back():
    model = small_net()
    kernel = np.full((24, 10), 1 + 2**-12, np.float32)  # half precision makes it 1
    kernel[:, 3] = 1.0
    model.set_weights([kernel, np.zeros(10, np.float32)])
    images = np.ones((2, 4, 6, 1), np.float32)
    test = tf.data.Dataset.from_tensor_slices((images, [0, 0])).batch(2)
    results = training.evaluate(model, test)
    assert results["test_loss_float16"] == pytest.approx(np.log(10), abs=1e-5)  # all ten classes alike
    assert results["test_loss"] != results["test_loss_float16"] and results["test_accuracy"] == 1.0
    np.testing.assert_array_equal(model.get_weights()[0], kernel)


def test_the_learning_curve_shows_the_numbers_with_their_units():
    history = [
        {"epoch": 1, "loss": 2.0, "accuracy": 0.5, "test_loss": 1.0, "test_accuracy": 0.75},
        {"epoch": 2, "loss": 1.0, "accuracy": 0.75, "test_loss": 0.5, "test_accuracy": 1.0},
    ]
    figure = learning_curve(history, "a title")
    loss, error = figure.axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[2.0, 1.0], [1.0, 0.5]]
    assert [line.get_ydata().tolist() for line in error.lines] == [[50.0, 25.0], [25.0, 0.0]]
    assert figure.get_suptitle() == "a title" and "0.00 %" in error.get_title()
    assert (loss.get_xlabel(), loss.get_ylabel(), error.get_ylabel()) == (
        "epoch",
        "cross-entropy (nats)",
        "misclassified images (%)",
    )


# ---------------------------------------------------------------------------------------------- the script


def script(*arguments, program=SCRIPT, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, str(program), *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def stop_after_epoch(process, folder, epoch, how):
    """Send a signal once the history has `epoch` rows."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        history = folder / "history.csv"
        if history.exists() and len(history.read_text().splitlines()) > epoch:
            process.send_signal(how)
            break
        time.sleep(0.01)
    return process.communicate(timeout=120)


def signalled(how, epoch, step, *arguments, program=SCRIPT):
    """The script in a process of its own, to which a signal comes in the middle of an epoch."""
    words = [sys.executable, str(ROOT / "tests" / "signalled.py"), how, epoch, step, program, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*map(str, words)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def same_weights(one, other):
    mine, theirs = (keras.models.load_model(path).get_weights() for path in (one, other))
    return all((a == b).all() for a, b in zip(mine, theirs, strict=True))


def trained(command, *arguments):
    """What the script prints, run in this process."""
    result = CliRunner().invoke(command, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def interrupted(command, words, epoch, step, monkeypatch, program=SCRIPT):
    """Run the script in this process with a Ctrl-C at the end of a step, and see that it says how to go on."""
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "fit", fit_until("SIGINT", epoch, step))
        patch.setattr(sys, "argv", [str(program), *words])
        stopped = CliRunner().invoke(command, words)
    assert stopped.exit_code == 130 and isinstance(stopped.exception, SystemExit)
    assert shlex.split(stopped.stderr.splitlines()[-1]) == [sys.executable, str(program), *words, "--resume"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder of twenty digits of each class."""
    folder = tmp_path_factory.mktemp("digits")
    images, labels, ids = datasets.arrays(datasets.load("mnist-5k", "all").shard(25, 0))
    for image, label, number in zip(images, labels, ids, strict=True):
        (folder / str(label)).mkdir(exist_ok=True)
        keras.utils.save_img(folder / str(label) / f"{number}.png", image, scale=False)
    return folder


@pytest.mark.slow
@pytest.mark.as_users
@pytest.mark.usefixtures("as_before")
def test_a_run_that_is_interrupted_and_killed_ends_with_the_same_bits_and_a_second_one_is_refused(
    tmp_path, command, monkeypatch, digits
):
    arguments = ("--dataset", digits, "--epochs", 3, "--every", 2, "--dropout", 0.3, "--batch-size", 16, "--seed", 3)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert "Test accuracy" in trained(command, *arguments, "--out", straight)

    words = [*map(str, arguments), "--out", str(broken)]
    interrupted(command, words, 1, 0, monkeypatch)
    assert json.loads((broken / "training.json").read_text())["results"] is None

    process = signalled("SIGSTOP", 2, 3, *words, "--resume")
    _, status = os.waitpid(process.pid, os.WUNTRACED)  # until it stops
    assert os.WIFSTOPPED(status), process.communicate()
    second = CliRunner().invoke(command, [*words, "--resume"])
    process.kill()
    process.communicate(timeout=300)
    assert second.exit_code == 2 and f"is in use: it is held by process {process.pid} on " in second.stderr
    assert len(second.stderr.splitlines()) == 1 and process.returncode == -signal.SIGKILL
    assert json.loads((broken / "training.json").read_text())["results"] is None
    assert len((broken / "history.csv").read_text().splitlines()) == 3

    out = trained(command, *arguments, "--out", broken, "--resume")
    assert "Resuming after epoch" in out and "Test accuracy" in out
    assert (broken / "history.csv").read_bytes() == (straight / "history.csv").read_bytes()
    assert (broken / "weights.npz").read_bytes() == (straight / "weights.npz").read_bytes()
    names = sorted(path.relative_to(straight) for path in straight.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(broken) for path in broken.rglob("*") if path.is_file())
    assert not any("partial" in str(name) or "state" in str(name) for name in names)
    for name in names:
        if name.suffix == ".keras":
            assert same_weights(straight / name, broken / name)
    results = [json.loads((folder / "training.json").read_text())["results"] for folder in (straight, broken)]
    for result in results:
        assert result.pop("seconds") > 0
    assert results[0] == results[1]


@pytest.mark.slow
@pytest.mark.usefixtures("as_before")
def test_a_run_that_diverges_ends_with_one_line_and_leaves_nothing_behind(tmp_path, command):
    for name, count in (("a", 5), ("b", 5)):
        (tmp_path / "digits" / name).mkdir(parents=True)
        for order in range(count):
            pixels = np.full((28, 28, 1), 20 * order)
            keras.utils.save_img(tmp_path / "digits" / name / f"{order}.png", pixels, scale=False)
    words = ["--dataset", str(tmp_path / "digits"), "--out", str(tmp_path / "run"), "--learning-rate", "1e30"]
    result = CliRunner().invoke(command, words)
    ours = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit) and "Test accuracy" not in result.stdout
    assert len(ours) == 1 and "Training has diverged: the" in ours[0] and "--learning-rate" in ours[0]
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.spec_from_file_location("train_lenet5", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def command(module):
    return module.app


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "--epochs must be at least 1, received 0."),
        (["--batch-size", "-3"], "--batch-size must be at least 1, received -3."),
        (["--learning-rate", "-1"], "--learning-rate must be a positive number, received -1.0."),
        (["--learning-rate", "nan"], "--learning-rate must be a positive number, received nan."),
        (["--weight-decay", "inf"], "--weight-decay must be 0 or a positive number, received inf."),
        (["--dropout", "1"], "--dropout must be at least 0 and below 1, received 1.0."),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--every", "0"], "--every must be at least 1, received 0."),
        (["--without", "conv9"], "has no layer 'conv9'. Did you mean 'conv2'?"),
        (["--without", "conv2", "--resize", "conv2=5"], "can be left out or resized, not both."),
        (["--resize", "=5"], "must be a layer and its size, at least 1, such as conv3=512, received =5."),
        (["--resize", "conv2=0"], "must be a layer and its size, at least 1, such as conv3=512, received conv2=0."),
        (["--dataset", "mnist5k"], "Unknown data set 'mnist5k'. Did you mean 'mnist-5k'?"),
        (["--dataset", "./nowhere"], "There is no folder 'nowhere'."),
        (["--dataset", "mnist", "--data-dir", "empty"], "The data set 'mnist' is not prepared in"),
    ],
)
def test_a_wrong_argument_ends_with_one_line_and_leaves_nothing_behind(
    command, arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, [*arguments, "--out", "run"])
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("Error: ") and message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_labels_cannot_be_trained_on(command, tmp_path, monkeypatch):
    for order in range(5):
        keras.utils.save_img(tmp_path / f"{order}.png", np.zeros((28, 28, 1)), scale=False)
    result = CliRunner().invoke(command, ["--dataset", str(tmp_path), "--out", str(tmp_path / "run")])
    assert result.exit_code == 2 and "has no labels to train on" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_there_is_neither_written_over_nor_mixed_with_another(command, tmp_path):
    folder = tmp_path / "run"
    training.RunFolder(folder, "lenet5").start({"arguments": {"dataset": "mnist-5k", "epochs": 3}})
    before = (folder / "training.json").read_bytes()
    plain = CliRunner().invoke(command, ["--out", str(folder)])
    assert plain.exit_code == 2 and "holds an unfinished run" in plain.stderr
    other = CliRunner().invoke(command, ["--out", str(folder), "--epochs", "9", "--resume"])
    assert other.exit_code == 2 and "epochs 3 -> 9" in other.stderr
    assert (folder / "training.json").read_bytes() == before and len(list(folder.iterdir())) == 1


def test_a_run_is_not_resumed_on_a_folder_whose_classes_have_changed(command, tmp_path):
    arguments = {"dataset": "mnist-5k", "epochs": 40, "batch_size": 128, "learning_rate": 0.002, "weight_decay": 0.02}
    arguments |= {"dropout": 0.0, "augment": True, "seed": 0}
    data = {"train_size": 3999, "classes": [*"012345678", "ix"]}
    training.RunFolder(tmp_path / "run", "lenet5").start({"arguments": arguments, "data": data})
    before = (tmp_path / "run" / "training.json").read_bytes()
    result = CliRunner().invoke(command, ["--out", str(tmp_path / "run"), "--resume"])
    assert result.exit_code == 2 and "started on other data: train_size 3999 -> 4000, classes" in result.stderr
    assert (tmp_path / "run" / "training.json").read_bytes() == before


def run_and_look_for_tensorflow(*arguments, program=SCRIPT):
    """Run the script; the last line of its output is its exit code, and whether it has loaded TensorFlow."""
    code = (
        f"import sys, runpy; sys.argv = [{program.name!r}, *{arguments!r}]\n"
        f"try: runpy.run_path({str(program)!r}, run_name='__main__')\n"
        "except SystemExit as end: print('code', end.code, 'tensorflow' in sys.modules)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize("out", ["/proc/none", "{file}", "{file}/run"])
def test_an_out_that_cannot_be_a_folder_is_named_before_tensorflow_loads(out, tmp_path):
    (tmp_path / "notes.txt").write_text("a file")
    out = out.format(file=tmp_path / "notes.txt")
    found = run_and_look_for_tensorflow("--out", out)
    assert found.stdout.split() == ["code", "2", "False"]
    assert found.stderr.startswith(f"Error: --out: the folder '{out}' cannot be created or written: ")
    assert len(found.stderr.splitlines()) == 1


def test_the_command_to_resume_is_the_one_that_was_given(module, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scripts/train_lenet5.py", "--resume", "--out", "my runs/1"])
    again = shlex.split(module.command_line.command_to_resume())
    assert again == [sys.executable, "scripts/train_lenet5.py", "--out", "my runs/1", "--resume"]


def test_help_needs_no_tensorflow():
    found = run_and_look_for_tensorflow("--help")
    assert "code 0 False" in found.stdout and "--resume" in found.stdout, found.stderr
