"""Weights files that anybody may have written: nothing outside of them is read, and nothing larger than the model."""

import io
import json
import os
import random
import tracemalloc
import zipfile

import h5py
import keras
import numpy as np
import pytest

import models
from models.alexnet import AlexNet
from models.loading import keras_file, weight_files

SUFFIXES = (".npz", ".keras", ".weights.h5")


def network(units=3):
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(2, 3, activation="relu", name="conv")(image)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(image, keras.layers.Dense(units, name="dense")(x), name="net")


@pytest.fixture(scope="module")
def net():
    return network()


@pytest.fixture(scope="module")
def wholes(net, tmp_path_factory):
    """The same weights in a file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    for suffix in SUFFIXES:
        written(net, folder / f"net{suffix}")
    return {suffix: (folder / f"net{suffix}").read_bytes() for suffix in SUFFIXES}


def written(model, path):
    if path.suffix == ".npz":
        weight_files.save(model, path, "float32")
    elif path.suffix == ".keras":
        model.save(path)
    else:
        model.save_weights(path)
    return path


@pytest.fixture
def place(net, tmp_path):
    """A function that makes a `.weights.h5`, or a `.keras` around it, of which one group was changed."""

    def make(change, suffix=".weights.h5"):
        inside = tmp_path / "inside.weights.h5"
        net.save_weights(inside)
        with h5py.File(inside, "a") as file:
            change(file["layers/conv2d/vars"])
        if suffix == ".weights.h5":
            return inside
        net.save(tmp_path / "net.keras")
        return repacked(tmp_path / "net.keras", **{"model.weights.h5": inside.read_bytes()})

    return make


def repacked(path, compression=zipfile.ZIP_STORED, **members):
    """The archive with some members replaced, or left out where None is given."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()} | members
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, value in content.items():
            if value is not None:
                archive.writestr(name, value)
    return path


def refusal(model, path):
    with pytest.raises(ValueError) as raised:
        weight_files.load(model, path)
    said = str(raised.value)
    assert "\n" not in said and str(path) in said
    return said


# ------------------------------------------------------------------------------------------ what lies in other files


def external_storage(group):
    shape, other = group["0"].shape, os.path.join(os.path.dirname(group.file.filename), "secret")
    np.full(shape, 42, np.float32).tofile(other)
    del group["0"]
    group.create_dataset("0", shape, np.float32, external=[(other, 0, h5py.h5f.UNLIMITED)])


def external_link(group):
    other = os.path.join(os.path.dirname(group.file.filename), "other.h5")
    with h5py.File(other, "w") as file:
        file["secret"] = np.full(group["0"].shape, 42, np.float32)
    del group["0"]
    group["0"] = h5py.ExternalLink(other, "secret")


def external_layer(group):
    other = os.path.join(os.path.dirname(group.file.filename), "other.h5")
    with h5py.File(other, "w") as file:
        group.copy(group, file, "vars")
    layers = group.parent.parent
    del layers["conv2d"]
    layers["conv2d"] = h5py.ExternalLink(other, "/")


def soft_link(group):
    del group["0"]
    group["0"] = h5py.SoftLink("/layers/dense/vars/0")


def virtual(group):
    other, shape = os.path.join(os.path.dirname(group.file.filename), "other.h5"), group["0"].shape
    with h5py.File(other, "w") as file:
        file["secret"] = np.full(shape, 42, np.float32)
    layout = h5py.VirtualLayout(shape, np.float32)
    layout[:] = h5py.VirtualSource(other, "secret", shape)
    del group["0"]
    group.create_virtual_dataset("0", layout)


def reference(group):
    target = group["1"].ref
    del group["0"]
    group.create_dataset("0", (3, 3, 1, 2), h5py.ref_dtype)[0, 0, 0, 0] = target


def foreign_filter(group):
    shape = group["0"].shape
    del group["0"]
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk(shape)
    plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))  # Zstandard, which HDF5 would look for in a folder of code
    h5py.h5d.create(group.id, b"0", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(shape), plan)


def a_group(group):
    del group["0"]
    group.create_group("0")


def huge(group):
    del group["0"]
    group.create_dataset("0", (3, 3, 1, 2**40), np.float32, chunks=(3, 3, 1, 64), compression="gzip")


def huge_pieces(group):
    del group["0"]
    group.create_dataset("0", (3, 3, 1, 2), np.float32, chunks=(3, 3, 1, 2**25), maxshape=(3, 3, 1, None))


def bomb_piece(group):
    """One gzipped piece of 72 bytes that inflates to 100 MB."""
    import zlib

    del group["0"]
    dataset = group.create_dataset("0", (3, 3, 1, 2), np.float32, chunks=(3, 3, 1, 2), compression="gzip")
    dataset.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(10**5), 9))


HOSTILE = [
    (external_storage, r"'layers/conv2d/vars/0' is stored in the file '.*secret'. Other files are never read"),
    (external_link, r"'layers/conv2d/vars/0' is a link to the file '.*other.h5'. Other files are never read"),
    (external_layer, r"'layers/conv2d' is a link to the file '.*other.h5'. Other files are never read"),
    (soft_link, "'layers/conv2d/vars/0' is a link, which Keras never writes"),
    (virtual, "'layers/conv2d/vars/0' consists of data in other files. Other files are never read"),
    (foreign_filter, r"has the HDF5 filters \[32015\]: expected none, gzip or lzf"),
    (reference, "no real numbers in layer 'conv': expected a type like float32, received object"),
    (a_group, r"layer 'conv' of 'net': expected shapes \(3, 3, 1, 2\) and \(2,\), received \(2,\)"),
    (huge, r"layer 'conv' of 'net': expected shapes .*, received \(3, 3, 1, 1099511627776\)"),
    (huge_pieces, r"shape \(3, 3, 1, 2\) has larger chunks, of shape \(3, 3, 1, 33554432\)"),
    (bomb_piece, "a chunk of its '/layers/conv2d/vars/0' decompresses to more than its 72 bytes"),
]


@pytest.mark.parametrize(("change", "message"), HOSTILE, ids=[change.__name__ for change, _ in HOSTILE])
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_an_hdf5_file_that_reaches_beyond_itself_is_refused(net, place, change, message, suffix):
    before = net.get_weights()
    path = place(change, suffix)
    with pytest.raises(ValueError, match=message):
        weight_files.load(net, path)
    refusal(net, path)
    for mine, theirs in zip(net.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("change", [external_storage, external_link, virtual, soft_link])
def test_a_keras_file_that_reaches_beyond_itself_is_not_handed_to_keras(place, change):
    path = place(change, ".keras")
    with pytest.raises(ValueError, match=r"Other files are never read|is a link"):
        keras_file.check(path)


@pytest.mark.parametrize(
    "options", [{"compression": "gzip", "shuffle": True}, {"compression": "lzf"}, {"fletcher32": True}]
)
def test_an_hdf5_file_that_is_packed_is_read_to_the_same_numbers(place, options):
    random = np.random.default_rng(0).normal(size=(3, 3, 1, 2)).astype(np.float32)

    def pack(group):
        del group["0"]
        group.create_dataset("0", data=random, chunks=(2, 3, 1, 2), **options)

    other = network()
    weight_files.load(other, place(pack))
    np.testing.assert_array_equal(other.get_layer("conv").kernel.numpy(), random)


@pytest.mark.parametrize("length", [0, 8, 2**64 - 16, 2**40])
def test_a_text_with_a_wrong_length_does_not_send_hdf5_in_circles(net, wholes, tmp_path, length):
    content = bytearray(wholes[".weights.h5"])
    begin = content.index(b"GCOL") + 16
    sizes = 16 + np.array([8, 8, 8, 8, 8])  # of net, image, conv, flatten and dense, in steps of 8 bytes
    for at in (begin, begin + sizes.sum()):  # the first text, and the room behind the last
        (tmp_path / "net.weights.h5").write_bytes(content[: at + 8] + length.to_bytes(8, "little") + content[at + 16 :])
        if at == begin and length in (0, 8):
            continue  # another name, which the file may have
        assert "its strings are damaged" in refusal(net, tmp_path / "net.weights.h5")


def test_a_text_that_is_said_to_be_of_gigabytes_takes_no_memory(net, wholes, tmp_path):
    content = wholes[".weights.h5"]
    begin = content.index(b"GCOL")
    conv = content.index((4).to_bytes(4, "little") + begin.to_bytes(8, "little"))  # length, where, and which
    (tmp_path / "net.weights.h5").write_bytes(content[: conv + 3] + b"\xff" + content[conv + 4 :])
    assert "its strings are damaged" in refusal(net, tmp_path / "net.weights.h5")


def test_groups_that_hold_each_other_are_walked_once(net, place):
    def cycle(group):
        group["again"] = group.parent

    expected = net.get_weights()
    path = place(cycle)
    net.set_weights([weight + 1 for weight in expected])
    weight_files.load(net, path)
    for found, weight in zip(net.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(found, weight)


# ------------------------------------------------------------------------------------------------ bombs and damage


def peak(model, path):
    """Megabytes at most while a file is refused."""
    tracemalloc.start()
    try:
        refusal(model, path)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def test_an_npz_bomb_is_refused_by_its_headers_without_being_inflated(net, tmp_path):
    arrays = {f"{layer.name}/{w.name}": w.numpy() for layer in net.layers for w in layer.weights}
    zeros = np.zeros((3, 3, 1, 500_000), np.float32)  # 18 MB
    np.savez_compressed(tmp_path / "shape.npz", **{**arrays, "conv/kernel": zeros})
    np.savez_compressed(tmp_path / "surplus.npz", **arrays, **{"more/kernel": zeros})
    del zeros
    assert (tmp_path / "shape.npz").stat().st_size < 10**5
    assert peak(net, tmp_path / "shape.npz") < 2 and peak(net, tmp_path / "surplus.npz") < 2


def test_an_npz_header_that_is_larger_than_any_is_not_read(net, tmp_path):
    header = b"\x93NUMPY\x02\x00" + (2 * 10**7).to_bytes(4, "little") + b" " * (2 * 10**7)
    with zipfile.ZipFile(tmp_path / "header.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conv/kernel.npy", header)
    del header
    assert peak(net, tmp_path / "header.npz") < 2


def test_what_the_model_does_not_take_is_not_read(net, tmp_path):
    arrays = {f"{layer.name}/{w.name}": w.numpy() for layer in net.layers for w in layer.weights}
    np.savez_compressed(tmp_path / "beside.npz", **arrays, **{"more/kernel": np.zeros((1000, 10_000), np.float32)})
    tracemalloc.start()
    weight_files.load(net, tmp_path / "beside.npz", beside=("more",))
    most = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    assert most < 2


def test_a_keras_bomb_is_refused_by_its_directory(net, tmp_path):
    path = written(net, tmp_path / "net.keras")
    repacked(path, zipfile.ZIP_DEFLATED, **{"model.weights.h5": bytes(80_000_000)})
    assert peak(net, path) < 2
    for read in (keras_file.check, lambda path: weight_files.load(net, path)):
        with pytest.raises(ValueError, match=r"would take 76 MiB and is stored in 0\.07 MiB"):
            read(path)


def test_sizes_of_a_network_are_not_taken_from_a_bomb(tmp_path):
    kernels = {"fc6/kernel": np.zeros((9216, 2000), np.float32), "predictions/kernel": np.zeros((5, 7), np.float32)}
    np.savez_compressed(tmp_path / "bomb.npz", **kernels)
    with pytest.raises(ValueError, match=r"'fc6/kernel' would take 70 MiB and is stored in 0.07 MiB: more than 100"):
        AlexNet(weights=tmp_path / "bomb.npz")


def encrypted(content):
    entry = content.rindex(b"PK\x01\x02")
    return content[: entry + 8] + b"\x01" + content[entry + 9 :]


def of_unknown_compression(content):
    entry = content.rindex(b"PK\x01\x02")
    return content[: entry + 10] + b"\x63" + content[entry + 11 :]


@pytest.mark.parametrize("suffix", [".npz", ".keras"])
def test_archives_that_zipfile_cannot_read_are_refused_by_what_is_wrong(net, wholes, tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(encrypted(wholes[suffix]))
    assert "is encrypted. Save the file without a password" in refusal(net, path)
    path.write_bytes(of_unknown_compression(wholes[suffix]))
    assert "has the compression unknown (99): expected none or deflate" in refusal(net, path)
    path.write_bytes(wholes[suffix])
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[0], "again")
    assert "2 times. Save the file again" in refusal(net, path)
    repacked(path, zipfile.ZIP_LZMA)
    assert "has the compression lzma: expected none or deflate" in refusal(net, path)


def test_a_changed_byte_is_noticed_by_the_checksum(net, wholes, tmp_path):
    for suffix in (".npz", ".keras"):
        content = bytearray(wholes[suffix])
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            member = max(archive.infolist(), key=lambda member: member.compress_size)
        content[member.header_offset + member.compress_size - 20] ^= 1
        (tmp_path / f"net{suffix}").write_bytes(content)
        assert "is damaged (" in refusal(net, tmp_path / f"net{suffix}")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"{", "its 'config.json' is not JSON"),
        (b"\xff\xfe{}", "its 'config.json' is not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "its 'config.json' is nested too deeply"),
        (b"[]", "does not describe a model: expected an object with a 'class_name'"),
        (b'{"class_name": 3}', "does not describe a model: expected an object with a 'class_name'"),
        (
            b'{"class_name": "Functional", "config": []}',
            "not describe a model: expected an object as its 'config'",
        ),
        (None, "it has no 'config.json', which every"),
    ],
    ids=["cut", "no text", "deep", "a list", "no name", "no config", "missing"],
)
def test_a_keras_file_without_a_configuration_is_refused(net, tmp_path, config, message):
    path = repacked(written(net, tmp_path / "net.keras"), **{"config.json": config})
    assert message in refusal(net, path)
    with pytest.raises(ValueError, match=message):
        keras_file.check(path)


def test_an_hdf5_file_that_is_called_keras_is_told_so(net, wholes, tmp_path):
    (tmp_path / "old.keras").write_bytes(wholes[".weights.h5"])
    assert "it is an HDF5 file of an older Keras" in refusal(net, tmp_path / "old.keras")


def test_members_that_would_be_unpacked_elsewhere_are_refused(net, tmp_path):
    path = repacked(written(net, tmp_path / "net.keras"), **{"../../elsewhere": b"x"})
    with pytest.raises(ValueError, match=r"'../../elsewhere' would be extracted outside"):
        keras_file.check(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_changed_bytes_are_read_to_numbers_or_refused_in_one_line(net, wholes, tmp_path, suffix):
    choice, path, refused = random.Random(0), tmp_path / f"net{suffix}", 0
    for number in range(25):
        content = bytearray(wholes[suffix])
        if number % 5 == 0:
            del content[choice.randrange(len(content)) :]
        for _ in range(choice.choice([1, 3, 30])):
            if content:
                content[choice.randrange(len(content))] = choice.randrange(256)
        path.write_bytes(content)
        try:
            weight_files.load(net, path)
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error) and str(path) in str(error)
    assert refused >= 5


# --------------------------------------------------------------------------------------------- what is no hostile file


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_places_that_are_no_file_are_named(net, tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    path.mkdir()
    assert f"'{path}' cannot be read: " in refusal(net, path) and "s a directory" in refusal(net, path)
    path.rmdir()
    assert refusal(net, path) == f"There is no weights file '{path}'."


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_pipe_is_not_waited_for(net, tmp_path, suffix):
    os.mkfifo(tmp_path / f"net{suffix}")
    assert "it is not a regular file" in refusal(net, tmp_path / f"net{suffix}")


@pytest.mark.parametrize("name", ["x" * 5000, "x\0y", "x" * 5000 + ".npz", "x\0y.npz"])
def test_names_that_no_file_can_have_are_no_weights(name):
    with pytest.raises(ValueError, match=r"LeNet5 has no weights|cannot be read: "):
        models.LeNet5(weights=name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_may_not_be_read_is_named(net, wholes, tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(wholes[suffix])
    path.chmod(0)
    assert "cannot be read: Permission denied" in refusal(net, path)


def test_a_layer_of_nearly_the_same_name_is_pointed_out(net, tmp_path):
    np.savez(tmp_path / "other.npz", **{"conv_1/kernel": np.zeros(3), "dense/kernel": np.zeros(3)})
    assert "has no weights for conv. The file holds conv_1, dense" in refusal(net, tmp_path / "other.npz")
    assert refusal(net, tmp_path / "other.npz").endswith("If its 'conv_1' is the model's 'conv', rename it.")


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_what_a_trained_model_keeps_beside_its_weights_is_left_out(tmp_path, suffix):
    trained = network()
    trained.compile("adam", "mse")
    trained.optimizer.build(trained.trainable_variables)
    other = network()
    weight_files.load(other, written(trained, tmp_path / f"trained{suffix}"))
    for mine, theirs in zip(other.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_keras_file_of_a_version_that_did_not_name_layers_beside_their_weights_is_read(tmp_path):
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(2, 3, name="conv")(image)
    x = keras.layers.SeparableConv2D(2, 3, name="apart")(x)
    x = keras.layers.Conv2D(2, 3, name="another")(x)
    old = keras.Model(image, keras.layers.BatchNormalization(name="norm")(x), name="old")
    new = keras.models.clone_model(old)
    path = written(old, tmp_path / "old.keras")
    with zipfile.ZipFile(path) as archive:
        inside = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(inside, "a") as file:
        for group in file["layers"].values():
            group["vars"].attrs.pop("name", None)
        file["vars"].attrs.pop("name", None)
    weight_files.load(new, repacked(path, **{"model.weights.h5": inside.getvalue()}))
    for mine, theirs in zip(new.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("policy", ["float64", "mixed_float16", "mixed_bfloat16", "bfloat16", "float16"])
def test_weights_are_the_same_numbers_under_every_policy(net, wholes, tmp_path, policy):
    before, floatx = keras.config.dtype_policy(), keras.config.floatx()
    values = [np.round(array * 16) / 16 for array in net.get_weights()]  # that every type holds exactly
    exact = network()
    exact.set_weights(values)
    try:
        if policy == "float64":
            keras.config.set_floatx(policy)
        keras.config.set_dtype_policy(policy)
        other = network()
        for suffix in SUFFIXES:
            other.set_weights([np.zeros_like(array) for array in values])
            weight_files.load(other, written(exact, tmp_path / f"net{suffix}"))
            for weight, value in zip(other.weights, values, strict=True):
                assert weight.dtype == keras.dtype_policies.get(policy).variable_dtype
                np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight).astype(np.float64), value)
        for suffix in (".keras", ".weights.h5"):  # and back again, from a file of this policy's type
            path = written(other, tmp_path / f"back{suffix}")
            exact.set_weights([np.zeros_like(array) for array in values])
            weight_files.load(exact, path)
            for mine, value in zip(exact.get_weights(), values, strict=True):
                np.testing.assert_array_equal(mine, value)
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(before)


def test_bfloat16_in_an_npz_file_says_what_numpy_has_lost(net, tmp_path):
    import ml_dtypes

    arrays = {
        f"{layer.name}/{w.name}": w.numpy().astype(ml_dtypes.bfloat16) for layer in net.layers for w in layer.weights
    }
    np.savez(tmp_path / "half.npz", **arrays)
    assert "as this type; save float32 instead" in refusal(net, tmp_path / "half.npz")


def test_the_version_that_wrote_a_keras_file_is_the_one_it_names(net, tmp_path):
    path = written(net, tmp_path / "net.keras")
    assert keras_file.version(path) == keras.__version__
    assert keras_file.version(repacked(path, **{"metadata.json": json.dumps({"keras_version": "99.1"})})) == "99.1"
    assert keras_file.version(repacked(path, **{"metadata.json": b"["})) == ""
