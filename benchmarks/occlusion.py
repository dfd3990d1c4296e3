"""How long does an occlusion map take, and how long in other packages?

One image of AlexNet and one of LeNet-5, squares of three sizes at two strides. Others take the last square of an axis
where it ends, cut it off at the border or leave it out; ours is moved back. So times are compared for one position,
and probabilities where the squares are the same. tf-explain's square moves by its own size: one cell is for it.
"""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from benchmarks import contests, measuring, subjects
from scripts import command_line

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

US, PLAIN, TILES, SUMS = "deconvnet", 'deconvnet, exact="full"', "tf-explain", "xplique"
QUICK, QUICK_TILES = {"alexnet": (), "lenet5": ((8, 2),)}, {"alexnet": 76, "lenet5": 7}
GREY = 127.5  # the fill value of tf-explain


@app.command(help=__doc__)
def main(
    model: measuring.Networks = None,
    square: Annotated[list[str] | None, typer.Option(help="SIZE:STRIDE, only these; may be repeated.")] = None,
    python_xplique: measuring.PythonXplique = None,
    repeats: measuring.Repeats = 5,
    threads: measuring.Threads = 2,
    out: measuring.Out = None,
    quick: measuring.Quick = False,
):
    networks = measuring.check_options(repeats, threads, out, model, tuple(subjects.NETWORKS))
    chosen = [_square(text, networks) for text in square or []]
    families = {"by_torch": None, "by_xplique": python_xplique, "by_tf_explain": None}
    try:
        with contests.Contest("occlusion", families, threads, quick) as contest:
            content = {**contest.about(), "networks": {}}
            for name in networks:
                content["networks"][name] = _measure(contest, name, chosen, repeats, quick)
    except (OSError, RuntimeError) as error:
        command_line.fail(error)
    measuring.write(out, content)


def _square(text, networks):
    """Size and stride from `SIZE:STRIDE`."""
    size, _, stride = (part.strip() for part in text.partition(":"))
    smallest = min(subjects.NETWORKS[name].side for name in networks)
    holds = size.isdecimal() and stride.isdecimal() and 1 <= int(stride) <= int(size) <= smallest
    command_line.check("--square", text, holds, f"SIZE:STRIDE with 1 <= STRIDE <= SIZE <= {smallest}")
    return int(size), int(stride)


def _measure(contest, name, chosen, repeats, quick):
    """All cells of one network: the times, and the differences of the results."""
    network = subjects.NETWORKS[name]
    path, _ = contest.make(name, layers=network.layers[:1], channels=1, count=1)
    subject = subjects.load(path)
    side = QUICK_TILES[name] if quick else network.tiles
    tiles = (side, side, GREY)
    cases = [(*square, 0.0) for square in chosen or (QUICK[name] if quick else network.squares)]
    cases += [] if chosen else [tiles]
    tried, cells = {}, {}
    for row in [] if quick else contest.rows:
        if row != TILES or tiles in cases:
            tried[row] = contest.tune(row, path, tiles if row == TILES else (*network.try_out, 0.0), name)
    for case in cases:
        size, stride, fill = case
        rows = [row for row in contest.rows if row != TILES or case == tiles]
        ours = contest.found(US, path, case, name)
        differences, positions = {}, {}
        for row in rows:
            found = ours if row == US else contest.found(row, path, case, name)
            differences[row] = _difference(row, found, ours, case, network.side, subject)
            positions[row] = _inside(network.side, size, stride) ** 2 if row == SUMS else found.size
            if row != US:
                contests.check_equal(f"{name} {size} px, stride {stride}", row, differences[row])
        times = contest.times(path, dict.fromkeys(rows, case), name, repeats)
        each = {row: times[row].median / positions[row] for row in rows}
        cells[f"{size} px, stride {stride}"] = {
            "size": size,
            "stride": stride,
            "fill": fill,
            "times": {row: found._asdict() for row, found in times.items()},
            "positions": positions,
            "differences": {row: found._asdict() for row, found in differences.items()},
            "ratios": {row: each[row] / each[US] for row in rows},
            "best": contests.best({row: each[row] / each[US] for row in rows}),
        }
    _show(name, cells, contest.rows)
    return {"cells": cells, "tried": tried}


def _difference(row, found, ours, case, side, subject):
    """The difference from the result of this package, at the positions common to both."""
    size, stride, _ = case
    count = _inside(side, size, stride)
    expected = ours[:count, :count]
    if row == SUMS:
        lost, expected = subject.probability - expected, np.zeros_like(found)
        for down, right in np.ndindex(count, count):
            top, left = down * stride, right * stride
            expected[top : top + size, left : left + size] += lost[down, right]
    else:
        found = found[:count, :count]
    return contests.difference(found[None], expected[None])


def _inside(side, size, stride):
    """Number of positions along an axis that lie at multiples of the stride."""
    return (side - size) // stride + 1


def _show(name, cells, rows):
    headers = [f"{name}, by", *cells]

    def lines(value):
        return [[row, *(value(cell, row) if row in cell["times"] else None for cell in cells.values())] for row in rows]

    seconds = lines(lambda cell, row: cell["times"][row]["median"])
    measuring.show(
        "Seconds for a map", headers, [*seconds, ["positions", *(c["positions"][US] for c in cells.values())]]
    )
    measuring.show(f"Times as long as {US}, for one position", headers, lines(lambda cell, row: cell["ratios"][row]))


if __name__ == "__main__":
    app()
