"""Where a command writes: odd names, full disks, and what is a file already."""

import errno
import json
import os
import sys

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure

from deconv import datasets, figures
from deconv.cli import output


@pytest.fixture
def subject():
    import keras

    listed = tf.data.Dataset.from_tensor_slices((np.zeros((1, 4, 4, 1), "uint8"), np.zeros(1, "int32"), np.arange(1)))
    data = datasets.ImageSet("black", "all", listed, ("a",), 1, (4, 4, 1), "black")
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]
    return figures.Subject(keras.Sequential(layers), "none", data, None)


def picture(name="one", title="title"):
    return figures.Picture(name, title, "caption", Figure(figsize=(1, 1)), {"a": 1})


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines", b" $x_{ %s ", "\u05d0".encode()])
def test_a_folder_of_any_name_is_written_to_and_told_in_one_line(tmp_path, subject, name, capsys):
    out = tmp_path / os.fsdecode(name)
    out.mkdir()
    output.write(subject, [picture(title="caf\udce9 $")], out, {"out": out})
    told = capsys.readouterr().out
    assert told.startswith("Written: ") and told.count("\n") == 1 and told.encode()
    assert sorted(os.listdir(out)) == ["one.json", "one.pdf", "one.png"]
    assert json.loads((out / "one.json").read_text(encoding="utf-8"))["title"] == r"caf\udce9 $"


def test_a_full_disk_is_told_with_the_name_of_the_file_that_was_to_be_written(tmp_path, subject):
    class Full(Figure):
        def savefig(self, *args, **kwargs):
            raise OSError(errno.ENOSPC, "No space left on device")

    full = picture("two")._replace(figure=Full())
    with pytest.raises(OSError, match=r"'.*/out/two\.png' cannot be written: No space left on device") as told:
        (tmp_path / "out").mkdir()
        output.write(subject, [picture(), full], tmp_path / "out", {})
    assert ".partial" not in str(told.value) and not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_where_a_folder_should_be_is_named_and_stays(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    message = f"--out: the folder '.*{place}' cannot be created or written: .*Choose another"
    with pytest.raises(ValueError, match=message), output.output_folder(tmp_path / place):
        pass
    assert (tmp_path / "file").read_text() == "mine"
