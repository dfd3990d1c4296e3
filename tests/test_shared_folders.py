"""Two runs at one place, and places that killed runs have left: the second is refused, the next one goes on."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from specimens import SPECIMENS, images
from test_evolution import coloured_dots, one_pixel_filters
from test_topk_state import content, drawn, state_of

import deconv
from deconv.cli.output import stopped_by_signals
from deconv.evolution.callback import FeatureEvolution
from deconv.runtime.atomic_files import PREFIX
from deconv.topk import checkpoint, scan
from deconv.topk.state import TopK
from models import training

ROOT = Path(__file__).resolve().parent.parent
ARGUMENTS = {"epochs": 4, "seed": 0}
RUN_FOLDER = """
import os, signal, sys, types
for name in ("models", "models.training"):  # without what they load: TensorFlow takes seconds
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = [os.path.join(os.getcwd(), *name.split("."))]
from models.training.run_folder import RunFolder
folder = RunFolder(sys.argv[1], "net")
def die(*names):
    os.kill(os.getpid(), signal.SIGKILL)
"""
HOLDING = "\nwith folder.held():\n    print('held', flush=True)\n    sys.stdin.read()"
KILLED_IN_THE_FIRST_WRITE = "\nos.replace = die\nwith folder.held():\n    folder.start({'arguments': {}})"
KILLED_IN_A_LATER_WRITE = """
with folder.held():
    folder.start({'arguments': {'epochs': 4, 'seed': 0}})
    folder.checkpoint_file(1).parent.mkdir()
    folder.write_history([{'epoch': 1}])
    os.replace = die
    from models.loading.atomic_files import replacing
    with replacing(folder.checkpoint_file(2)) as partial:
        partial.write_text('half')
"""
LOCKED = """
import sys
from deconv.runtime.atomic_files import locked
with locked(sys.argv[1]):
    print('held', flush=True)
    sys.stdin.read()
"""


def run(code, place):
    return subprocess.run([sys.executable, "-c", code, str(place)], cwd=ROOT, timeout=60)


class another_process:
    """`with another_process(code, place) as process:` it has printed that it holds the place, and holds it."""

    def __init__(self, code, place):
        self.command = [sys.executable, "-c", code, str(place)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"held\n"
        return self.process

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def refusal(process, place):
    return f"'{re.escape(str(place))}' is in use: it is held by process {process.pid} on "


# ---------------------------------------------------------------------------------------------- training


def test_a_second_run_in_a_folder_is_refused_until_the_first_has_ended_or_was_killed(tmp_path):
    folder = training.RunFolder(tmp_path / "run", "net")
    with another_process(RUN_FOLDER + HOLDING, folder.path) as process:
        with pytest.raises(training.RunFolderError, match=refusal(process, folder.path)) as told, folder.held():
            pass
        assert "\n" not in str(told.value)
        process.kill()
        process.wait()
        with folder.held():
            folder.start({"arguments": ARGUMENTS})
    assert os.listdir(folder.path) == ["training.json"]


def test_a_second_thread_is_refused_too(tmp_path):
    folder, told = training.RunFolder(tmp_path / "run", "net"), []

    def second():
        try:
            with training.RunFolder(tmp_path / "run", "net").held():
                told.append("in")
        except training.RunFolderError as error:
            told.append(str(error))

    with folder.held():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(told) == 1 and f"held by process {os.getpid()} on " in told[0]
    assert not folder.path.exists()  # nothing was written


def test_a_run_killed_inside_its_very_first_write_can_be_begun_anew_and_resumed(tmp_path):
    folder = training.RunFolder(tmp_path / "run", "net")
    assert run(RUN_FOLDER + KILLED_IN_THE_FIRST_WRITE, folder.path).returncode == -signal.SIGKILL
    left = sorted(os.listdir(folder.path))
    assert left[0] == ".lock" and left[1].startswith(PREFIX) and left[1].endswith("-training.json") and len(left) == 2
    for resume in (False, True):
        assert folder.check(ARGUMENTS, resume) is None
    with folder.held():
        folder.start({"arguments": ARGUMENTS})
    assert os.listdir(folder.path) == ["training.json"]


def test_what_a_run_killed_later_left_unfinished_is_removed_by_the_next_and_all_else_stays(tmp_path):
    folder = training.RunFolder(tmp_path / "run", "net")
    assert run(RUN_FOLDER + KILLED_IN_A_LATER_WRITE, folder.path).returncode == -signal.SIGKILL
    (left,) = os.listdir(folder.path / "checkpoints")
    assert left.startswith(PREFIX) and left.endswith("-epoch_002.keras")
    (folder.path / "checkpoints" / ".notes").write_text("mine")
    with folder.held():
        assert folder.check(ARGUMENTS, resume=True) is None
    assert sorted(os.listdir(folder.path)) == ["checkpoints", "history.csv", "training.json"]
    assert os.listdir(folder.path / "checkpoints") == [".notes"]


RECORDS = {
    "a list": "[1, 2]",
    "a number": "3",
    "null": "null",
    "a text": '"arguments"',
    "nothing": "",
    "not UTF-8": b"\xff\xfe\x00",
    "nested deeply": "[" * 50000,
    "arguments that are a list": '{"arguments": [], "results": null}',
    "arguments that are null": '{"arguments": null, "results": null}',
    "results that are true": '{"arguments": {}, "results": true}',
    "results that are a list": '{"arguments": {}, "results": []}',
    "no results": '{"arguments": {}}',
    "data that are a text": '{"arguments": {}, "results": null, "data": "digits"}',
    "NaN": '{"arguments": {"seed": NaN}, "results": null}',
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_another_form_is_named_in_one_line(tmp_path, name):
    file, text = tmp_path / "training.json", RECORDS[name]
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    folder = training.RunFolder(tmp_path, "net")
    for ask in (lambda: folder.check(ARGUMENTS, resume=True), lambda: folder.check_data({"train": "digits"})):
        with pytest.raises(training.RunFolderError, match=r"training\.json' is not the record of a run: ") as told:
            ask()
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("results", [{}, {"accuracy": None}, {"accuracy": "0.5"}, {"accuracy": True}, {"accuracy": []}])
def test_a_result_that_is_no_number_is_named(tmp_path, results):
    folder = training.RunFolder(tmp_path, "net")
    folder.start({"arguments": ARGUMENTS})
    folder.finish(results)
    with pytest.raises(training.RunFolderError, match=r"no.* record of a finished run: .*'accuracy'"):
        folder.result("accuracy")
    folder.finish({"accuracy": 0.5})
    assert folder.result("accuracy") == 0.5


# ---------------------------------------------------------------------------------------------- scans


def test_threads_that_save_states_to_one_file_leave_a_whole_one(tmp_path):
    states, failed, path = [state_of(drawn(5, seed)) for seed in range(4)], [], tmp_path / "top.npz"

    def save(state):
        try:
            for _ in range(10):
                state.save(path)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=save, args=(state,)) for state in states]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and content(TopK.load(path)) in map(content, states) and os.listdir(tmp_path) == ["top.npz"]


@pytest.fixture(scope="module")
def network():
    return SPECIMENS["same"]()


def test_a_scan_whose_checkpoint_is_in_use_by_another_is_refused_and_a_finished_one_is_read_all_the_same(
    tmp_path, network
):
    path, pixels = tmp_path / "top.npz", images(network, 6)
    with another_process(LOCKED, path) as process:
        with pytest.raises(ValueError, match=refusal(process, path)):
            deconv.top_activations(network, pixels, "conv1", checkpoint=path)
        assert os.listdir(tmp_path) == [".top.npz.lock"]
    first = deconv.top_activations(network, pixels, "conv1", checkpoint=path)
    assert os.listdir(tmp_path) == ["top.npz"]
    with another_process(LOCKED, path):
        again = deconv.top_activations(network, pixels, "conv1", checkpoint=path)
    for one, other in zip(first["conv1"], again["conv1"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_finished_checkpoint_is_read_from_a_folder_that_cannot_be_written_and_an_unfinished_one_refused(
    tmp_path, network, monkeypatch
):
    path, pixels = tmp_path / "top.npz", images(network, 6)
    first = deconv.top_activations(network, pixels, "conv1", checkpoint=path)
    unfinished = TopK.load(path)
    unfinished.sources = [unfinished.sources[0]._replace(images=3, complete=False)]
    unfinished.save(tmp_path / "half.npz")
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who may write anywhere

    def refuse(*_):
        raise PermissionError("nothing may be written here")

    monkeypatch.setattr(scan, "locked", refuse)
    monkeypatch.setattr(checkpoint, "replacing", refuse)
    again = deconv.top_activations(network, pixels, "conv1", checkpoint=path)
    for one, other in zip(first["conv1"], again["conv1"], strict=True):
        np.testing.assert_array_equal(one, other)
    for name in ("half.npz", "new.npz"):
        with pytest.raises(ValueError, match=f"folder of the checkpoint '.*{name}' cannot be written to"):
            deconv.top_activations(network, pixels, "conv1", checkpoint=tmp_path / name)


def test_a_disk_that_becomes_full_during_a_scan_is_an_os_error_that_names_the_checkpoint(tmp_path, network):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))  # as if the disk were full
    try:
        with pytest.raises(OSError, match=r"'.*top\.npz' cannot be written: ") as told:
            deconv.top_activations(network, images(network, 6), "conv1", checkpoint=tmp_path / "top.npz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(told.value) and PREFIX not in str(told.value)


# ---------------------------------------------------------------------------------------------- evolutions and figures


@pytest.mark.slow
def test_a_folder_of_evolutions_in_use_by_another_process_is_refused_before_training(tmp_path):
    code = (
        "import sys\nfrom deconv.runtime.atomic_files import Lock\n"
        "lock = Lock(sys.argv[1], 'evolution.lock', shared=True)\n"
        "print('held', flush=True)\nsys.stdin.read()"
    )
    model = one_pixel_filters()
    evolution, again = (FeatureEvolution(coloured_dots(), folder=tmp_path) for _ in range(2))
    evolution.set_model(model)
    with another_process(code, tmp_path) as process:
        for begin in (evolution.on_train_begin, lambda: evolution.feed(model, 1)):
            with pytest.raises(ValueError, match=refusal(process, tmp_path)):
                begin()
    evolution.on_train_begin()  # and is interrupted; in the same notebook training begins once more
    again.set_model(model)
    again.on_train_begin()
    again.on_train_end()
    again.feed(model, 1)
    assert sorted(os.listdir(tmp_path)) == [".evolution.lock", "evolution_conv.png"]
    evolution.on_train_end()
    assert os.listdir(tmp_path) == ["evolution_conv.png"]


def test_a_request_to_end_is_taken_as_an_interruption_and_the_handler_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stopped_by_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(5)
    assert signal.getsignal(signal.SIGTERM) == before
    thread = threading.Thread(target=stopped_by_signals().__enter__)  # where signals cannot be handled nothing is done
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_model_is_saved_whole_with_its_own_ending(tmp_path):
    folder = training.RunFolder(tmp_path, "net")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    folder.save_checkpoint(model, 1)
    assert os.listdir(tmp_path / "checkpoints") == ["epoch_001.keras"]
    loaded = keras.models.load_model(folder.checkpoint_file(1))
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])
    assert json.dumps(os.listdir(tmp_path)) == '["checkpoints"]'
