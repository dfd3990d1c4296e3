"""Which operations TensorFlow refuses on a GPU under `enable_op_determinism`, and a record of those that are asked for.

The names are those of the kernels that answer `OpDeterminismRequired()` with an error, after the messages in the
library of TensorFlow 2.21 ("Determinism is not yet supported for ...", "A deterministic GPU implementation of ... is
not currently available"). Two groups of the messages are left out, since TensorFlow runs those operations: segment
reductions have deterministic kernels, and `tf.nn`'s losses take another way under determinism.
"""

import contextlib

import tensorflow as tf
from tensorflow.python.framework import config, func_graph, op_callbacks

REFUSED = {
    "AdjustContrast",
    "AdjustContrastv2",
    "Bincount",
    "CropAndResizeGradBoxes",
    "CropAndResizeGradImage",
    "DebugNumericSummaryV2",
    "DenseBincount",
    "Dilation2DBackpropFilter",
    "Dilation2DBackpropInput",
    "FakeQuantWithMinMaxVarsGradient",
    "FakeQuantWithMinMaxVarsPerChannelGradient",
    "MaxPoolGradWithArgmax",
    "RaggedBincount",
    "ResizeNearestNeighborGrad",
    "SoftmaxCrossEntropyWithLogits",
    "SparseBincount",
    "SparseSoftmaxCrossEntropyWithLogits",
    "SparseTensorDenseMatMul",
    "Svd",
    "Timestamp",
    *(f"Scatter{what}" for what in ("Add", "Div", "Max", "Min", "Mul", "Sub", "Update")),  # of variables by reference
    *(f"ScatterNd{what}" for what in ("Add", "Max", "Min", "Sub", "Update")),
}
"""Refused whatever their attributes, if they run on a GPU."""

UNSEEDED = {"Multinomial", "RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal"}
"""Refused on every device if neither of their seeds is set."""


def why_refused(operation, attributes, device):
    """Why TensorFlow would refuse an operation on a GPU; None if it would not."""
    if "CPU" in device:
        return None
    if operation in REFUSED:
        return "it has no deterministic kernel for GPUs"
    if operation.startswith("FusedBatchNormGrad") and not attributes.get("is_training", True):
        return "it has no deterministic kernel for GPUs outside of training"
    if operation in UNSEEDED and not (attributes.get("seed") or attributes.get("seed2")):
        return "it has no seed"
    return None


class Record:
    """What was asked for while it recorded.

    Attributes:
        operations: `{operation: how many}` of graphs and of eager calls, but for those of datasets, which run on CPUs.
        refused: `{"operation, graph": why}`.
    """

    def __init__(self):
        self.operations, self.refused = {}, {}

    def add(self, operation, attributes, device, graph):
        self.operations[operation] = self.operations.get(operation, 0) + 1
        why = why_refused(operation, attributes, device)
        if why:
            self.refused[f"{operation}, {graph}"] = why


@contextlib.contextmanager
def recorded():
    """`with recorded() as record:` under determinism, every operation that TensorFlow is asked for, in nested functions
    and gradients too."""
    record, create = Record(), func_graph.FuncGraph._create_op_internal
    attributes_of = ("is_training", "seed", "seed2")

    def created(graph, op_type, *args, **kwargs):
        made = create(graph, op_type, *args, **kwargs)
        outer, names = graph, []
        while outer is not None:
            names.append(getattr(outer, "name", ""))
            outer = getattr(outer, "outer_graph", None)
        if not any(str(name).startswith("Dataset") for name in names):
            known = {name: made.get_attr(name) for name in attributes_of if name in made.node_def.attr}
            record.add(op_type, known, made.device, names[0])
        return made

    def eager(op_type, inputs, attributes, outputs, op_name=None, graph=None):
        if graph is None:
            names = [name.decode() if isinstance(name, bytes) else name for name in attributes[::2]]
            known = dict(zip(names, attributes[1::2], strict=True))
            record.add(
                op_type.decode() if isinstance(op_type, bytes) else op_type,
                known,
                outputs[0].device.replace("CPU:0", "") if len(outputs) else "",
                "eager",
            )

    func_graph.FuncGraph._create_op_internal = created
    op_callbacks.add_op_callback(eager)
    tf.config.experimental.enable_op_determinism()
    try:
        yield record
    finally:
        config.disable_op_determinism()
        op_callbacks.remove_op_callback(eager)
        func_graph.FuncGraph._create_op_internal = create
