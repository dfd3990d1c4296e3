"""The pickles in PyTorch's files, read without PyTorch and without running anything that they name.

`pickletools` splits a pickle into its operations. Only those of plain data are carried out. The functions and classes
that a pickle names are never imported: a name of PyTorch stands for a description of a tensor or storage, and any other
name is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import IO, Any, NamedTuple

_MOST_OPERATIONS = 2**20  # about 40 belong to one tensor

DTYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
"""Types of numbers by the names of PyTorch's storages."""


class Named(NamedTuple):
    """A function or class that a pickle names, which is not imported."""

    name: str


class Storage(NamedTuple):
    """A piece of memory in the file.

    Attributes:
        key: Its name in the file.
        dtype: The type of its numbers, such as "float32".
        length: Their number.
    """

    key: str
    dtype: str
    length: int


class Tensor(NamedTuple):
    """A tensor: a view of a storage.

    Attributes:
        shape: Its sizes.
        dtype: The type of its numbers, such as "float32".
        kind: Why it cannot be read, such as "sparse"; empty if it can.
        storage: None if it cannot be read.
        offset: Of its first number, in numbers.
        strides: Distances of neighbours along each axis, in numbers.
        negated: Whether the numbers in the storage have the opposite sign.
    """

    shape: tuple[int, ...]
    dtype: str
    kind: str = ""
    storage: Storage | None = None
    offset: int = 0
    strides: tuple[int, ...] = ()
    negated: bool = False


def load(file: IO[bytes]) -> Any:
    """Read one pickle of plain data and tensors; the file is left at its end.

    Args:
        file: Open for reading, at the begin of the pickle.

    Returns:
        Dicts, lists, tuples, numbers, texts and None; `Tensor`, `Storage` and `Named` in place of objects.

    Raises:
        ValueError: If it is damaged, or contains anything else. Nothing that it names is imported or called.
    """
    machine = _Machine()
    for number, (operation, argument, _) in enumerate(pickletools.genops(file)):
        if number == _MOST_OPERATIONS:
            raise ValueError(f"it has more than {_MOST_OPERATIONS:,} operations")
        if operation.name == "STOP":
            return machine.pop()
        machine.run(operation.name, argument)
    raise ValueError("it ends too early")


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        """Carry out one operation.

        Raises:
            ValueError: If it is not allowed.
        """
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
            return
        if name in _TUPLES:
            items = [self.pop() for _ in range(_TUPLES[name])]
            self.stack.append(tuple(reversed(items)))
            return
        if name in _CHANGES:
            _CHANGES[name](self)
            return
        if name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.top()
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name != "PROTO":
            self.stack.append(self.value(name, argument))

    def value(self, name: str, argument: Any) -> Any:
        """The value that an operation puts on the stack.

        Raises:
            ValueError: If it is not allowed.
        """
        if name in _ARGUMENTS:
            return argument
        if name in ("BINGET", "LONG_BINGET"):
            return self.remembered(argument)
        if name == "GLOBAL":
            return _named(argument)
        if name == "TUPLE":
            return tuple(self.pop_to_mark())
        raise ValueError(f"its operation {name} is not allowed")

    def top(self) -> Any:
        """The uppermost value."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("its stack is empty")
        return self.stack[-1]

    def pop(self) -> Any:
        """Remove and return the uppermost value."""
        self.top()
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        """Remove the values above the last mark, and the mark."""
        if not self.marks:
            raise ValueError("it has no mark")
        begin = self.marks.pop()
        items = self.stack[begin:]
        del self.stack[begin:]
        return items

    def remembered(self, number: int) -> Any:
        """A value of the memo."""
        if number not in self.memo:
            raise ValueError("it refers to a value that it does not have")
        return self.memo[number]

    def add_items(self, items: list[Any]) -> None:
        """Add keys and values to the dict below them."""
        target = self.top()
        if not isinstance(target, dict) or len(items) % 2 or not all(isinstance(key, str | int) for key in items[::2]):
            raise ValueError("it has a dict with keys that are neither texts nor whole numbers")
        target.update(zip(items[::2], items[1::2], strict=True))

    def append_items(self, items: list[Any]) -> None:
        """Append values to the list below them."""
        target = self.top()
        if not isinstance(target, list):
            raise ValueError("it appends to a value that is not a list")
        target.extend(items)

    def build(self) -> None:
        """Drop the attributes of an object: a state_dict has the versions of its modules as such."""
        self.pop()
        if not isinstance(self.top(), dict):
            raise ValueError("it sets attributes of a value that is not a dict")

    def call(self) -> None:
        """Replace a name and its arguments by what they stand for."""
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Named) or not isinstance(arguments, tuple) or function.name not in _CALLS:
            raise ValueError("it calls a function that is not one of PyTorch's for tensors")
        try:
            self.stack.append(_CALLS[function.name](*arguments))
        except TypeError as error:
            raise ValueError(f"it calls {function.name} with other arguments than PyTorch") from error

    def persistent(self) -> None:
        """Replace the reference to a storage by a `Storage`."""
        self.stack.append(_storage(self.pop()))


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_ARGUMENTS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "BINSTRING", "SHORT_BINSTRING")
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CHANGES: dict[str, Callable[[_Machine], None]] = {
    "SETITEM": lambda machine: machine.add_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine: machine.add_items(machine.pop_to_mark()),
    "APPEND": lambda machine: machine.append_items([machine.pop()]),
    "APPENDS": lambda machine: machine.append_items(machine.pop_to_mark()),
    "BUILD": _Machine.build,
    "REDUCE": _Machine.call,
    "BINPERSID": _Machine.persistent,
}


def _named(text: str) -> Named:
    """A name of PyTorch, or of a dict."""
    module, _, name = text.partition(" ")
    known = name in DTYPES or name == "UntypedStorage" or f"{module}.{name}" in _CALLS
    if not known and module != "torch":  # other names of torch are constants: types, layouts
        raise ValueError(f"it names {module}.{name}, which is not part of a file of weights")
    return Named(name if name in DTYPES else f"{module}.{name}")


def _storage(reference: Any) -> Storage:
    """The `Storage` of a reference: `("storage", type, key, device, length)`, before PyTorch 1.6 with a view."""
    fits = isinstance(reference, tuple) and len(reference) in (5, 6) and reference[0] == "storage"
    if not fits or not isinstance(reference[1], Named) or not isinstance(reference[2], str):
        raise ValueError("it refers to something that is not a storage")
    kind, key, length = reference[1].name, reference[2], reference[4]
    if not _is_size(length) or reference[5:] not in ((), (None,)):
        raise ValueError(f"its storage '{key}' is a view, or has no length")
    return Storage(key, DTYPES.get(kind, kind.rpartition(".")[2]), length)


def _dense(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, metadata: Any = None, dtype: Any = None
) -> Tensor:
    """A tensor with values in a storage."""
    sizes, strides = _sizes(shape), _sizes(strides)
    if not isinstance(storage, Storage) or not _is_size(offset) or len(sizes) != len(strides):
        raise ValueError("it has a tensor without a storage, or with strides that do not fit its shape")
    negated = isinstance(metadata, dict) and metadata.get("neg") is True
    return Tensor(sizes, dtype or storage.dtype, "", storage, offset, strides, negated)


def _dense_of_type(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, metadata: Any = None
) -> Tensor:
    """A tensor of a type without a storage class of its own, such as float8."""
    return _dense(storage, offset, shape, strides, grad, hooks, metadata, _constant(dtype))


def _parameter(data: Any, grad: Any, hooks: Any) -> Any:
    """The tensor of a parameter."""
    if not isinstance(data, Tensor):
        raise ValueError("it has a parameter that is not a tensor")
    return data


def _constant(value: Any) -> str:
    """The last part of a name, such as "float8_e4m3fn" of torch.float8_e4m3fn."""
    return value.name.rpartition(".")[2] if isinstance(value, Named) else "unknown"


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _sizes(value: Any) -> tuple[int, ...]:
    """A tuple of sizes, checked."""
    if not isinstance(value, tuple) or not all(map(_is_size, value)):
        raise ValueError("it has a tensor with sizes that are not whole numbers")
    return value


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda: {},
    "torch.Size": _sizes,
    "torch.serialization._get_layout": lambda name: Named(str(name)),
    "torch._utils._rebuild_tensor_v2": _dense,
    "torch._utils._rebuild_tensor_v3": _dense_of_type,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_sparse_tensor": lambda layout, data: Tensor(_sizes(data[2]), "unknown", "sparse"),
    "torch._utils._rebuild_qtensor": lambda _storage, _offset, shape, *_: Tensor(_sizes(shape), "unknown", "quantized"),
    "torch._utils._rebuild_meta_tensor_no_storage": lambda dtype, shape, *rest: Tensor(
        _sizes(shape), _constant(dtype), "without values (a meta tensor)"
    ),
}
"""What the names of a pickle stand for when they are called. No others can be."""
