"""Names are drawn as they are: Matplotlib reads what stands between two dollars as mathematics, and stops at errors.

`texts` is for the labels of ticks, which Matplotlib writes anew whenever it draws; `plain_text` for all other texts.
"""

import functools
import re

from matplotlib.axis import Tick
from matplotlib.text import Text

_LONGEST = 240
_SURROGATE = re.compile("[\ud800-\udfff]")
_DOLLAR = re.compile(r"(?<!\\)\$")


def texts(names):
    """Names as Matplotlib draws them as they are: dollars with a backslash before, see `_drawable`."""
    return [_drawable(str(name).replace("$", r"\$")) for name in names]


def plain_text(draw):
    """A function that returns a figure, with all texts of the figure drawn as they are, and without TeX."""

    @functools.wraps(draw)
    def plain(*args, **kwargs):
        figure = draw(*args, **kwargs)
        ticks = {id(label) for tick in figure.findobj(Tick) for label in (tick.label1, tick.label2)}
        for text in figure.findobj(Text):
            text.set_usetex(False)
            if id(text) not in ticks:
                text.set_text(plain_line(text.get_text()))
        return figure

    return plain


def plain_line(text):
    """A text with a backslash before every dollar that has none."""
    return _drawable(_DOLLAR.sub(r"\\$", text))


def _drawable(text):
    """What no font can hold (half of a character, of a name that is not UTF-8) as an escape, and no endless line."""
    text = _SURROGATE.sub(lambda half: f"\\x{ord(half[0]) & 0xFF:02x}", text)
    return "\n".join(line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…" for line in text.split("\n"))
