"""Published weights of other frameworks into ours.

`tables` says what is called what in which file, `layout` how axes are turned, `onnx_file` and `torch_file` read, and
`conversion.convert` puts them together. Nothing in a file is ever executed.
"""

from models.convert.conversion import Converted, convert, note_of, require_reader, save
from models.convert.tables import NETWORKS

__all__ = ["NETWORKS", "Converted", "convert", "note_of", "require_reader", "save"]
