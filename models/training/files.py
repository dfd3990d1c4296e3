"""Files that are whole or not there."""

import contextlib
import os
from pathlib import Path


@contextlib.contextmanager
def whole(path):
    """Give a temporary path beside `path` to write to; it takes the name `path` only when the block has succeeded.

    A reader, and a run that goes on after being killed, sees the old file or the new one, never half of one.

    Args:
        path: The file to write.

    Yields:
        A `Path` in the same folder with the same suffix.
    """
    path = Path(path)
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
