"""Extract the line of an error message that states the cause.

TensorFlow and Keras wrap errors: the first line of the message is "Graph execution error:" or "Exception encountered
when calling Unpool.call()." and the cause follows, between traces, node names and arguments.
"""

from __future__ import annotations

import re

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ASSERTED = re.compile(r"assertion failed: \[ValueError: (.+?)\] \[")
_EMPTY = re.compile(
    r"""Graph[ ]execution[ ]error:?
    | Detected[ ]at[ ]node.*
    | <stack[ ]traces[ ]unavailable>
    | Stack[ ]trace[ ]for[ ]op[ ]definition:?
    | Exception[ ]encountered[ ]when[ ]calling[ ].*
    | Traceback[ ]\(most[ ]recent[ ]call[ ]last\):
    | During[ ]handling[ ]of[ ]the[ ]above[ ]exception,.*
    | The[ ]above[ ]exception[ ]was[ ]the[ ]direct[ ]cause.*
    | \d+[ ](?:derived|root)[ ]error\(s\)[ ](?:found|ignored)\.
    | Node:[ ]'.*
    | File[ ]".*",[ ]line[ ]\d+.*
    | node[ ].*\bdefined[ ]at\b.*
    | [\^~]+
    """,
    re.VERBOSE,
)
"""Lines, or beginnings of lines, that do not state the cause."""
_CODES = (
    "UNIMPLEMENTED",
    "INVALID_ARGUMENT",
    "INTERNAL",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "NOT_FOUND",
    "UNKNOWN",
)
_BEFORE = re.compile(r"\{\{(?:function_)?node [^}]*\}\}\s*|\(\d+\)\s+|(?:" + "|".join(_CODES) + r"):\s+(?=\S)")
_AFTER = re.compile(r"\s*(?:\[\[\{\{node .*|\[Op:[^\]]*\].*)$")


def reason(error: BaseException) -> str:
    """Return the cause of an error in one line: the first informative line of its message.

    Args:
        error: Any exception. If TensorFlow has wrapped a `ValueError` of this package, such as that of a data set which
            reads a damaged image, the result is the message of that `ValueError`.

    Returns:
        A non-empty string; the name of the error's type if no line is informative.
    """
    text = _COLOURS.sub("", str(error))
    asserted = _ASSERTED.search(text)
    if asserted:
        return asserted[1].replace("\\'", "'")
    lines = text.splitlines()
    ours = [number for number, line in enumerate(lines) if line.strip().startswith("ValueError: ")]
    if ours:
        lines = lines[ours[-1] :]
        lines[0] = lines[0].strip().removeprefix("ValueError: ")
        if not _EMPTY.fullmatch(lines[0]):
            return lines[0]
    return next(_informative_lines(lines), type(error).__name__)


def is_wrapped(error: BaseException) -> bool:
    """Return whether Keras, or TensorFlow in a compiled function, has added its own text to the message of an error."""
    return str(error).lstrip().startswith(("in user code:", "Exception encountered when calling "))


def _informative_lines(lines):
    """Yield the informative lines, without the text that TensorFlow adds to them."""
    trace = False
    for line in lines:
        indented, bare = line[:1].isspace(), line.strip()
        if bare.startswith(("Arguments received by ", "Call arguments received by ")):
            return
        # An indented line of code follows each location.
        trace = bool(bare) and (bare.startswith("File ") or (trace and indented))
        while bare and not trace:
            shorter = _BEFORE.sub("", bare, count=1) if _BEFORE.match(bare) else bare
            if shorter == bare:
                break
            bare = shorter
        bare = _AFTER.sub("", bare)
        if bare and not trace and not _EMPTY.fullmatch(bare):
            yield bare
