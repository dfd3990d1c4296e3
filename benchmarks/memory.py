"""Does the memory stay as it is when the work grows?

The peak of resident memory above what was there before, after a small run that warms up: of occlusion maps of ever
more positions, ours and others', and of `top_activations` over ever more images. Every number comes from a process of
its own; it is the median over --repeats processes.
"""

import sys
from pathlib import Path

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from benchmarks import contests, measuring, subjects
from scripts import command_line

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

US = "deconvnet"
STRIDES = {"alexnet": (16, 8, 4, 2), "lenet5": (4, 2, 1)}
OTHERS_STRIDES = {"alexnet": (16, 8, 4), "lenet5": (4, 2, 1)}  # with smaller strides they take minutes
SQUARES = {"alexnet": 32, "lenet5": 8}
WARM_UP = {"alexnet": 96, "lenet5": 10}  # size and stride of the patch in pixels: few positions
IMAGES, WARM_UP_IMAGES = (1_000, 20_000), 8
QUICK_STRIDES, QUICK_IMAGES = (4, 2), (100, 300)


@app.command(help=__doc__)
def main(
    model: measuring.Networks = None,
    python_xplique: measuring.PythonXplique = None,
    repeats: measuring.Repeats = 1,
    threads: measuring.Threads = 2,
    out: measuring.Out = None,
    quick: measuring.Quick = False,
):
    networks = measuring.check_options(repeats, threads, out, model, ("lenet5",) if quick else tuple(STRIDES))
    families, content = {"by_torch": None, "by_xplique": python_xplique}, {}
    try:
        with contests.Contest("occlusion", families, threads, quick) as contest:
            content |= {**contest.about(), "occlusion": {}, "images": {}}
            for name in networks:
                content["occlusion"][name] = _occlusion(contest, name, repeats, quick)
        with contests.Contest("stream", {}, threads, quick) as contest:
            for name in networks:
                content["images"][name] = _images(contest, name, repeats, quick)
    except (OSError, RuntimeError) as error:
        command_line.fail(error)
    measuring.write(out, content | {"question": "memory"})


def _occlusion(contest, name, repeats, quick):
    """Peaks by number of positions, for every row."""
    path, _ = contest.make(name, layers=subjects.NETWORKS[name].layers[:1], channels=1, count=1)
    size, side, warm = SQUARES[name], subjects.NETWORKS[name].side, (WARM_UP[name], WARM_UP[name], 0.0)
    rows = {}
    for row in contest.rows:
        strides = QUICK_STRIDES if quick else (STRIDES if row.startswith(US) else OTHERS_STRIDES)[name]
        positions = [(-(-(side - size) // stride) + 1) ** 2 for stride in strides]
        peaks = [contest.peak(row, path, warm, (size, stride, 0.0), repeats) for stride in strides]
        rows[row] = _against(positions, peaks)
    return _shown(f"{name}, positions of a square of {size} px", rows)


def _images(contest, name, repeats, quick):
    """Peaks by number of images."""
    path, _ = contest.make(name, layers=subjects.NETWORKS[name].layers[:1], channels=1, count=1)
    counts, rows = QUICK_IMAGES if quick else IMAGES, {}
    for row in contest.rows:
        rows[row] = _against(counts, [contest.peak(row, path, WARM_UP_IMAGES, count, repeats) for count in counts])
    return _shown(f"{name}, images", rows)


def _against(counts, peaks):
    """The memory of one row for each count, and the ratio of its maximum to its minimum."""
    above, whole = zip(*peaks, strict=True)
    return {"counts": counts, "above": above, "whole": whole, "ratio": max(whole) / min(whole)}


def _shown(title, rows):
    counts = max((row["counts"] for row in rows.values()), key=len)
    headers = [title, *(f"{count:,}" for count in counts), "highest / lowest"]
    for field, what in (("above", "Peak above what there was before, MiB"), ("whole", "Peak of the process, MiB")):
        lines = []
        for row, found in rows.items():
            values = [*found[field], *[None] * (len(counts) - len(found[field]))]
            lines.append([row, *values, max(found[field]) / max(min(found[field]), 0.1)])
        measuring.show(what, headers, lines)
    return rows


if __name__ == "__main__":
    app()
