"""The line of an error that says what is wrong.

TensorFlow and Keras wrap errors: the first line of theirs is "Graph execution error:" or "Exception encountered when
calling Unpool.call()." and the cause stands below it, between traces, node names and arguments.
"""

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
"""Lines, or beginnings of lines, that say nothing of the cause."""
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


def reason(error):
    """What is wrong, in one line: the first line of an error's message that says something.

    Args:
        error: Any exception. Where a sentence of ours is inside an error that TensorFlow has wrapped, as of a dataset
            that comes to a picture which it cannot give, it is that sentence.

    Returns:
        A string that is not empty: if no line says anything, the name of the error's type.
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
    return next(_told(lines), type(error).__name__)


def is_wrapped(error):
    """Whether Keras, or TensorFlow in a compiled function, has put its own text around the message of an error."""
    return str(error).lstrip().startswith(("in user code:", "Exception encountered when calling "))


def _told(lines):
    """The lines that say something, without what TensorFlow writes around them."""
    trace = False
    for line in lines:
        indented, bare = line[:1].isspace(), line.strip()
        if bare.startswith(("Arguments received by ", "Call arguments received by ")):
            return
        trace = bool(bare) and (bare.startswith("File ") or (trace and indented))  # a line of code follows its place
        while bare and not trace:
            shorter = _BEFORE.sub("", bare, count=1) if _BEFORE.match(bare) else bare
            if shorter == bare:
                break
            bare = shorter
        bare = _AFTER.sub("", bare)
        if bare and not trace and not _EMPTY.fullmatch(bare):
            yield bare
