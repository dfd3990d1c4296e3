"""Weights files of other frameworks that anybody may have written: converted to the right numbers, or one line."""

import io
import pickle
import random
import tracemalloc
import zipfile

import numpy as np
import pytest

from models import convert
from models.convert.tables import Network

KERNELS = {"conv1": ("conv1", (2, 1, 3, 3)), "predictions": ("fc8", ("classes", 8))}
ONNX = Network("a small network", ("{}_w_0", "{}_b_0"), KERNELS, (2, 2, 2), ("LRN", "MaxPool"))
TORCH = ONNX._replace(names=("{}.weight", "{}.bias"))


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    monkeypatch.setitem(convert.NETWORKS, "alexnet", ONNX)
    monkeypatch.setitem(convert.NETWORKS, "alexnet_owt", TORCH)


def values():
    random = np.random.default_rng(0)
    return {
        ("conv1", 0): random.standard_normal((2, 1, 3, 3)).astype(np.float32),
        ("conv1", 1): random.standard_normal(2).astype(np.float32),
        ("fc8", 0): random.standard_normal((5, 8)).astype(np.float32),
        ("fc8", 1): random.standard_normal(5).astype(np.float32),
    }


def expected():
    """By hand: OIHW to HWIO; (out, in) to (in, out), its inputs from (2, 2, 2) channels first to channels last."""
    given = values()
    dense = np.empty((8, 5), np.float32)
    for channel, row, column in np.ndindex(2, 2, 2):
        dense[(row * 2 + column) * 2 + channel] = given["fc8", 0][:, (channel * 2 + row) * 2 + column]
    kernel = np.empty((3, 3, 1, 2), np.float32)
    for out, row, column in np.ndindex(2, 3, 3):
        kernel[row, column, 0, out] = given["conv1", 0][out, 0, row, column]
    return [kernel, given["conv1", 1], dense, given["fc8", 1]]


def refusal(path):
    with pytest.raises(ValueError) as raised:
        convert.convert(path)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)
    return str(raised.value)


def check_right(path):
    for ours, right in zip(convert.convert(path).arrays.values(), expected(), strict=True):
        np.testing.assert_array_equal(ours, right)


# --------------------------------------------------------------------------------------------------------- ONNX


def onnx_model():
    onnx = pytest.importorskip("onnx", reason='needs onnx: pip install ".[test]"')
    tensors = [
        onnx.numpy_helper.from_array(array, f"{name}_{'wb'[kind]}_0") for (name, kind), array in values().items()
    ]
    nodes = [onnx.helper.make_node(kind, ["x"], ["x"], name=kind) for kind in ONNX.order]
    nodes.append(onnx.helper.make_node("Gemm", ["x", "fc8_w_0", "fc8_b_0"], ["y"], name="fc8", transB=1))
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "net", [], [], tensors))


def gemm(model):
    return model.graph.node[-1]


def tensor(model, name="fc8_w_0"):
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def set_factor(name, value):
    def change(model):
        import onnx

        gemm(model).attribute.append(onnx.helper.make_attribute(name, value))

    return change


def retyped(name):
    def change(model):
        import onnx

        tensor(model).data_type = onnx.TensorProto.DataType.Value(name)

    return change


def resized(*dims):
    def change(model):
        tensor(model).dims[:] = dims

    return change


def sparse(model):
    import onnx

    dense = tensor(model)
    values = onnx.numpy_helper.from_array(np.ones(1, np.float32), "fc8_w_0")
    indices = onnx.numpy_helper.from_array(np.zeros(1, np.int64), "where")
    model.graph.initializer.remove(dense)
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [5, 8]))


def outside(model):
    import onnx

    tensor(model, "conv1_b_0").data_location = onnx.TensorProto.EXTERNAL
    tensor(model, "conv1_b_0").external_data.add(key="location", value="/etc/passwd")


def segmented(model):
    tensor(model).segment.begin = 0


def twice(model):
    model.graph.initializer.append(tensor(model))


def without_inputs(model):
    del gemm(model).input[:]


def with_one_input(model):
    del gemm(model).input[1:]


def without_a_name(model):
    del gemm(model).input[:]
    gemm(model).name = ""


def with_lines_in_its_name(model):
    tensor(model).name = "fc8\nw" * 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_inputs, "its dense layer 'fc8' (Gemm) has 0 inputs: expected its images, kernel and bias"),
        (with_one_input, "its dense layer 'fc8' (Gemm) has 1 input: expected its images"),
        (without_a_name, "its dense layer 'y' (Gemm) has 0 inputs"),
        (set_factor("alpha", 0.5), "its dense layer 'fc8' (Gemm) has alpha=0.5: expected 1"),
        (set_factor("beta", 2.0), "its dense layer 'fc8' (Gemm) has beta=2: expected 1"),
        (retyped("FLOAT8E4M3FN"), "'fc8_w_0', the weights of predictions, is of the type FLOAT8E4M3FN: expected FLOAT"),
        (retyped("INT8"), "'fc8_w_0', the weights of predictions, is of the type INT8"),
        (retyped("STRING"), "'fc8_w_0', the weights of predictions, is of the type STRING"),
        (lambda model: setattr(tensor(model), "data_type", 99), "is of the type number 99"),
        (resized(2**40, 8), "its shape needs 8,796,093,022,208 numbers, received 40"),
        (resized(-5, 8), "should be of shape (classes, 8), received (-5, 8)"),
        (resized(5, -8), "should be of shape (classes, 8), received (5, -8)"),
        (resized(-5, -8), "should be of shape (classes, 8), received (-5, -8)"),
        (resized(*[1] * 10_000), "should be of shape (classes, 8), received (10000 axes)"),
        (resized(), "should be of shape (classes, 8), received ()"),
        (resized(4, 8), "its shape needs 32 numbers, received 40"),
        (sparse, "'fc8_w_0', the weights of predictions, is sparse, which is not supported"),
        (outside, "stores weights ('conv1_b_0') in another file, which is not read"),
        (segmented, "'fc8_w_0', the weights of predictions, is stored in segments"),
        (twice, "has two tensors named 'fc8_w_0'"),
        (with_lines_in_its_name, "has no tensor 'fc8_w_0'"),
    ],
)
def test_an_onnx_file_that_cannot_be_converted_names_what_is_wrong(tmp_path, change, message):
    model = onnx_model()
    change(model)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    tracemalloc.start()
    assert message in refusal(tmp_path / "net.onnx")
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_an_onnx_graph_that_leads_back_into_itself_is_converted_all_the_same(tmp_path):
    model = onnx_model()
    for node in model.graph.node:
        node.output[0] = "x"
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    check_right(tmp_path / "net.onnx")


def test_two_dense_layers_that_share_a_kernel_turn_it_once(tmp_path):
    model = onnx_model()
    array = values()["fc8", 0]
    tensor(model).dims[:] = (8, 5)
    tensor(model).raw_data = array.T.tobytes()
    gemm(model).attribute[0].i = 0
    model.graph.node.append(gemm(model))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    check_right(tmp_path / "net.onnx")


# -------------------------------------------------------------------------------------------------------- PyTorch


def state():
    torch = pytest.importorskip("torch", reason="needs torch: pip install torch")
    names = {0: "weight", 1: "bias"}
    return torch, {f"{name}.{names[kind]}": torch.from_numpy(array) for (name, kind), array in values().items()}


@pytest.mark.parametrize("zipped", [True, False])
def test_negated_conjugated_and_strided_tensors_are_converted_to_their_values(tmp_path, zipped):
    torch, tensors = state()
    tensors["fc8.bias"] = torch._neg_view(-tensors["fc8.bias"])
    tensors["conv1.weight"] = torch.complex(torch.zeros(2, 1, 3, 3), -tensors["conv1.weight"]).conj().imag
    tensors["fc8.weight"] = tensors["fc8.weight"].T.contiguous().T
    tensors["conv1.bias"] = torch.stack([tensors["conv1.bias"]] * 3, dim=1)[:, 1].requires_grad_()
    assert tensors["fc8.bias"].is_neg() and tensors["conv1.weight"].is_neg()
    torch.save(tensors, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    check_right(tmp_path / "net.pth")


def test_a_few_repeated_numbers_are_converted_to_their_values(tmp_path):
    torch, tensors = state()
    tensors["fc8.bias"] = torch.full((1,), 0.25).expand(5)
    torch.save(tensors, tmp_path / "net.pth")
    np.testing.assert_array_equal(convert.convert(tmp_path / "net.pth").arrays["predictions/bias"], np.full(5, 0.25))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda torch, kernel: kernel.to("meta"), "is without values (a meta tensor), which is not"),
        (lambda torch, kernel: kernel.to(torch.float8_e4m3fn), "is of the type float8_e4m3fn: expected float32"),
        (lambda torch, kernel: kernel.to(torch.int8), "is of the type int8: expected float32"),
        (lambda torch, kernel: kernel.to(torch.complex64), "is of the type complex64: expected float32"),
        (lambda torch, kernel: kernel.to_sparse(), "is sparse, which is not"),
        (lambda torch, kernel: torch.ones(1, 1).expand(2**28, 8), "it would take 8,192 MiB and is stored in 0.00 MiB"),
        (lambda torch, kernel: torch.as_strided(kernel, (2**26, 8), (0, 1)), "it would take 2,048 MiB"),
        (lambda torch, kernel: kernel[:, :7], "should be of shape (classes, 8), received (5, 7)"),
        (lambda torch, kernel: kernel[0, 0], "should be of shape (classes, 8), received ()"),
        (lambda torch, kernel: {"inner": kernel}, "has no tensor 'fc8.weight'"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_tensor_that_cannot_be_converted_is_named_with_its_kind(tmp_path, make, message):
    torch, tensors = state()
    tensors["fc8.weight"] = make(torch, tensors["fc8.weight"])
    torch.save(tensors, tmp_path / "net.pth")
    tracemalloc.start()
    said = refusal(tmp_path / "net.pth")
    assert message in said and "'fc8.weight'" in said
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_a_quantized_tensor_is_named_with_its_kind(tmp_path):
    torch, tensors = state()
    tensors["fc8.weight"] = torch.quantize_per_tensor(tensors["fc8.weight"], 0.1, 0, torch.qint8)
    torch.save(tensors, tmp_path / "net.pth")
    assert "'fc8.weight', the weights of predictions, is quantized" in refusal(tmp_path / "net.pth")


def test_a_compressed_archive_of_pytorch_is_not_inflated(tmp_path):
    torch, tensors = state()
    torch.save(tensors, tmp_path / "net.pth")
    with zipfile.ZipFile(tmp_path / "net.pth") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "net.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    assert "is compressed. Expected a file written by torch.save" in refusal(tmp_path / "net.pth")


# -------------------------------------------------------------------------------------------------- changed files


def torch_file(zipped=True):
    torch, tensors = state()
    content = io.BytesIO()
    torch.save(tensors, content, _use_new_zipfile_serialization=zipped)
    return content.getvalue()


FORMATS = {
    "onnx": lambda: onnx_model().SerializeToString(),
    "zip": torch_file,
    "pickle": lambda: torch_file(zipped=False),
}


def changed(content, choice):
    """Cut off, with bytes changed, or with a piece of it moved."""
    content, kind = bytearray(content), choice.randrange(4)
    if kind == 0:
        return content[: choice.randrange(len(content))]
    if kind == 1:
        begin, end, length = (choice.randrange(len(content)) for _ in range(3))
        content[begin : begin + length % 16] = content[end : end + length % 16]
        return content
    for _ in range(choice.choice([1, 1, 2, 5, 20])):
        content[choice.randrange(len(content))] = choice.choice([0, 1, 127, 128, 255, choice.randrange(256)])
    return content


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMATS)
def test_changed_bytes_are_converted_or_refused_in_one_line(tmp_path, form):
    content, choice, path, refused = FORMATS[form](), random.Random(0), tmp_path / "net", 0
    for _ in range(30):
        path.write_bytes(changed(content, choice))
        try:
            convert.convert(path)
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error) and str(path) in str(error)
    assert refused > 5


def test_names_that_are_no_text_are_left_out_and_a_plain_pickle_is_refused(tmp_path):
    torch, tensors = state()
    torch.save({**tensors, 3: torch.zeros(2)}, tmp_path / "net.pth")
    check_right(tmp_path / "net.pth")
    (tmp_path / "net.pth").write_bytes(pickle.dumps({"fc8.weight": 3}, 2))
    assert "is damaged, or holds Python objects" in refusal(tmp_path / "net.pth")
