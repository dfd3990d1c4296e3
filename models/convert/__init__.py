"""Conversion of published weights from other frameworks.

`tables` lists the names and shapes in the published files, `layout` converts the order of axes, `onnx_file`,
`torch_file`, `array_pickle` and `legacy_h5_file` read files, and `conversion.convert` combines them. Code in a file is
never executed.
"""

from models.convert.conversion import Converted, convert, note_of, require_reader, save
from models.convert.legacy_h5_file import unzipped
from models.convert.tables import NETWORKS

__all__ = ["NETWORKS", "Converted", "convert", "note_of", "require_reader", "save", "unzipped"]
