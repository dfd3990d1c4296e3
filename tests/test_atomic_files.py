"""Files that appear whole or not at all, and folders that one process at a time writes into."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import deconv.runtime.atomic_files
import deconv.runtime.json_files
import deconv.runtime.npz_files
import models.loading.atomic_files
import models.loading.json_files
import models.loading.npz_files
from deconv.runtime.atomic_files import PREFIX, Lock, locked, remove_leftovers, replacing, unfinished_folder

KILLED_BEFORE_THE_NAME = """
import os, signal, sys
from deconv.runtime.atomic_files import replacing
os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
with replacing(sys.argv[1]) as partial:
    partial.write_text("half")
"""
HOLDING = """
import sys, time
from deconv.runtime.atomic_files import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def _run(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], cwd=Path(__file__).parent.parent)


@pytest.fixture
def holding(tmp_path):
    """A process that holds a folder until its standard input is closed."""
    place = tmp_path / "held"
    place.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(place)],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"held\n"
    yield place, process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("name", ["atomic_files", "json_files", "npz_files"])
def test_both_packages_have_the_same_module(name):
    mine, theirs = (getattr(package, name).__file__ for package in (deconv.runtime, models.loading))
    assert Path(mine).read_bytes() == Path(theirs).read_bytes()


def test_a_file_takes_its_name_when_it_is_whole_and_its_temporary_name_ends_alike(tmp_path):
    path = tmp_path / "a.weights.h5"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert partial.name.endswith(".weights.h5") and partial.parent == tmp_path and path.read_text() == "old"
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["a.weights.h5"]


def test_what_fails_or_is_interrupted_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    for error in (KeyboardInterrupt, ZeroDivisionError):
        with pytest.raises(error), replacing(path) as partial:
            partial.write_text("new")
            raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.json"]


def test_names_as_long_as_the_file_system_takes_can_be_written(tmp_path):
    path = tmp_path / ("ü" * 120 + ".weights.h5")
    with replacing(path) as partial:
        partial.write_text("new")
        assert partial.name.endswith(".weights.h5")
    assert path.read_text() == "new"


def test_threads_that_write_one_file_each_leave_it_whole(tmp_path):
    path, failed = tmp_path / "a.txt", []

    def write(number):
        try:
            for _ in range(20):
                with replacing(path) as partial:
                    partial.write_text(str(number) * 1000)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = path.read_text()
    assert not failed and len(text) == 1000 and len(set(text)) == 1 and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path):
    with (
        pytest.raises(OSError, match=r"'.*a\.json' cannot be written: No space left") as told,
        replacing(tmp_path / "a.json"),
        open("/dev/full", "wb", 0) as file,
    ):
        file.write(b"x")
    assert told.value.errno == errno.ENOSPC and "\n" not in str(told.value)


def test_a_folder_that_is_not_there_or_a_folder_of_that_name_are_told_with_the_name_of_the_file(tmp_path):
    (tmp_path / "folder").mkdir()
    for name, error in (("nowhere/a", FileNotFoundError), ("folder", IsADirectoryError)):
        with pytest.raises(error, match=f"'.*{name}' cannot be written"), replacing(tmp_path / name) as partial:
            partial.write_text("new")
    assert os.listdir(tmp_path) == ["folder"]


def test_an_error_about_another_file_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"directory: '.*other'"), replacing(tmp_path / "a"):
        (tmp_path / "other").read_text()


def test_the_next_writing_removes_what_a_killed_one_left_of_the_same_file(tmp_path):
    path = tmp_path / "a.json"
    assert _run(KILLED_BEFORE_THE_NAME, path).returncode == -signal.SIGKILL
    (left,) = os.listdir(tmp_path)
    assert left.startswith(PREFIX) and left.endswith("-a.json")
    with replacing(tmp_path / "b.json") as partial:
        partial.write_text("another file")
    assert left in os.listdir(tmp_path)
    with replacing(path) as partial:
        partial.write_text("new")
    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.json"]


def test_taking_a_folder_removes_what_killed_processes_left_in_it(tmp_path):
    assert _run(KILLED_BEFORE_THE_NAME, tmp_path / "a.json").returncode == -signal.SIGKILL
    with locked(tmp_path):
        assert os.listdir(tmp_path) == [".lock"]
    assert os.listdir(tmp_path) == []


def test_what_living_processes_are_writing_stays(tmp_path):
    with replacing(tmp_path / "a.json") as mine:
        mine.write_text("not finished")
        with replacing(tmp_path / "a.json") as other:  # of the same process, as another thread would
            other.write_text("finished")
        remove_leftovers(tmp_path)
        assert mine.exists()
    host, _, _, rest = mine.name.removeprefix(PREFIX).split(".", 3)
    parent = os.getppid()
    began = deconv.runtime.atomic_files._started(parent)
    kept = tmp_path / f"{PREFIX}{host}.{parent}.{began}.{rest}.json"
    reused = tmp_path / f"{PREFIX}{host}.{parent}.{began + 1}.{rest}.json"  # this id was another process's then
    for file in (kept, reused):
        file.write_text("half")
    remove_leftovers(tmp_path)
    assert kept.exists() and not reused.exists()


def test_what_another_machine_is_writing_stays_for_a_day(tmp_path):
    young, old = (tmp_path / f"{PREFIX}00000000.99999999.1.{digits * 8}-a.json" for digits in "12")
    for file in (young, old):
        file.write_text("half")
    long_ago = time.time() - 90000
    os.utime(old, (long_ago, long_ago))
    own = tmp_path / ".partial-notes.json"  # a user's
    own.write_text("mine")
    os.utime(own, (long_ago, long_ago))
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([young.name, own.name])


def test_an_unfinished_folder_is_removed_also_when_its_process_was_killed(tmp_path):
    code = (
        "import os, sys, signal\nfrom deconv.runtime.atomic_files import unfinished_folder\n"
        "with unfinished_folder(sys.argv[1]) as new:\n    (new / 'a').write_text('a')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert _run(code, tmp_path).returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 1
    with unfinished_folder(tmp_path) as new:
        assert os.listdir(tmp_path) == [new.name]
    assert os.listdir(tmp_path) == []


def test_a_folder_in_use_is_refused_with_its_name_and_the_process(holding):
    place, process = holding
    for _ in range(2):  # a refused one changes nothing
        expected = f"'.*held' is in use: it is held by process {process.pid} on "
        with pytest.raises(ValueError, match=expected) as told, locked(place):
            pass
    assert "\n" not in str(told.value) and socket.gethostname() in str(told.value)


def test_a_killed_process_holds_nothing(holding):
    place, process = holding
    process.kill()
    process.wait()
    with locked(place):
        assert (place / ".lock").read_text().startswith(f"held by process {os.getpid()} on ")
    assert os.listdir(place) == []


def test_threads_of_one_process_are_kept_apart_too_and_files_have_locks_of_their_own(tmp_path):
    told = []

    def second():
        try:
            with locked(tmp_path):
                told.append("in")
        except ValueError as error:
            told.append(str(error))

    with locked(tmp_path), locked(tmp_path / "a.npz"), locked(tmp_path / "b.npz"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(told) == 1 and f"held by process {os.getpid()}" in told[0]
    assert os.listdir(tmp_path) == []


def test_a_shared_lock_is_held_until_its_last_object_is_gone(tmp_path):
    one, other = (Lock(tmp_path, "evolution.lock", shared=True) for _ in range(2))
    one.close()
    one.close()
    assert os.listdir(tmp_path) == [".evolution.lock"]
    del other
    assert os.listdir(tmp_path) == []


def test_where_there_are_no_locks_a_warning_says_so(tmp_path, monkeypatch):
    def none(self):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(deconv.runtime.atomic_files.FileLock, "acquire", none)
    with pytest.warns(UserWarning, match="has no locks"), locked(tmp_path):
        pass
