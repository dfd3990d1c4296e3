"""Hashes of files, read piece by piece."""

import hashlib
import os
from typing import Literal

_PIECE = 2**20  # bytes


def digest_of(path: str | os.PathLike, algorithm: Literal["sha256", "sha1"] = "sha256") -> str:
    """Hash of a file, in hexadecimal digits.

    Args:
        path: The file.
        algorithm: Name of the hash; SHA-1 only where publishers give no other.

    Raises:
        OSError: If the file cannot be read.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
