"""Conversion of published weights from other frameworks.

`tables` lists the names and shapes in the published files, `layout` converts the order of axes, `onnx_file` and
`torch_file` read files, and `conversion.convert` combines them. Code in a file is never executed.
"""

from models.convert.conversion import Converted, convert, note_of, require_reader, save
from models.convert.tables import NETWORKS

__all__ = ["NETWORKS", "Converted", "convert", "note_of", "require_reader", "save"]
