"""Types of the arguments that pooling and convolution functions share."""

from collections.abc import Sequence
from typing import Literal

IntOrPair = int | Sequence[int]
"""A size, stride or dilation: one int for both axes, or `(rows, columns)`."""
Padding = Literal["valid", "same", "ceil"]
"""Conventions of `deconv.ops.pooling.window_padding`."""
Collisions = Literal["sum", "last", "max"]
"""Policies of `deconv.ops.pooling.unpool` for windows that share a maximum."""
