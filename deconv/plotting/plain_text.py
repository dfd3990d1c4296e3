"""Literal drawing of names: Matplotlib parses text between two dollar signs as mathematics and may raise errors."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec

from matplotlib.axes import Axes
from matplotlib.axis import Tick
from matplotlib.category import StrCategoryFormatter
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

_Arguments = ParamSpec("_Arguments")
_NAMES = (FixedFormatter, FuncFormatter, StrCategoryFormatter)
"""Formatters of tick labels that are names. The other formatters write numbers, with powers of ten as mathematics."""
_LONGEST = 240
_SURROGATE = re.compile("[\ud800-\udfff]")


def texts(names: Iterable[object]) -> list[str]:
    """Convert names to drawable texts.

    Characters that no font can draw (lone surrogates of a name that is not UTF-8) are escaped, `\\xe9`. Lines are cut
    after 240 characters.
    """
    return [_drawable(str(name)) for name in names]


def plain_text(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Decorate a function that returns a figure so that its texts are drawn literally, without mathematics or TeX."""

    @functools.wraps(draw)
    def plain(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        figure = draw(*args, **kwargs)
        ticks = figure.findobj(Tick)
        for text in figure.findobj(Text):
            text.set_usetex(False)
            text.set_parse_math(False)
            text.set_text(_drawable(text.get_text()))
        for tick in ticks:
            for label in (tick.label1, tick.label2):
                label.set_parse_math(True)
        for ax in figure.axes:
            for axis in (ax.xaxis, ax.yaxis):
                if isinstance(axis.get_major_formatter(), _NAMES):
                    for tick in axis.get_major_ticks():
                        tick.label1.set_parse_math(False)
                        tick.label2.set_parse_math(False)
        return figure

    return plain


def set_plain_title(ax: Axes, title: str, **options: Any) -> None:
    """Call `ax.set_title` and draw the title literally."""
    ax.set_title(_drawable(str(title)), **options).set_parse_math(False)


def _drawable(text: str) -> str:
    text = _SURROGATE.sub(lambda half: f"\\x{ord(half[0]) & 0xFF:02x}", text)
    return "\n".join(line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…" for line in text.split("\n"))
