"""How much longer than the network itself does the search for the strongest activations take?

`top_activations` of every layer with weights, against a bare forward pass and `model.predict` of the same images in the
same batches: AlexNet over 512 images made of the 20 photographs, LeNet-5 over 10,000 made of 1,000 digits.
"""

import sys
from pathlib import Path

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from benchmarks import contests, measuring, subjects
from scripts import command_line

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

US, BARE = "top_activations", "bare forward pass"
IMAGES = {"alexnet": 512, "lenet5": 10_000}
QUICK = {"alexnet": 8, "lenet5": 200}


@app.command(help=__doc__)
def main(
    model: measuring.Networks = None,
    repeats: measuring.Repeats = 7,
    threads: measuring.Threads = 2,
    out: measuring.Out = None,
    quick: measuring.Quick = False,
):
    networks = measuring.check_options(repeats, threads, out, model, tuple(subjects.NETWORKS))
    try:
        with contests.Contest("scan", {}, threads, quick) as contest:
            content = {**contest.about(), "networks": {}}
            for name in networks:
                content["networks"][name] = _measure(contest, name, repeats, quick)
    except (OSError, RuntimeError) as error:
        command_line.fail(error)
    measuring.write(out, content)


def _measure(contest, name, repeats, quick):
    """One network: the times, and a check of the results by an independent computation."""
    path, _ = contest.make(
        name, layers=subjects.NETWORKS[name].layers[:1], channels=1, count=QUICK[name] if quick else None
    )
    count = (QUICK if quick else IMAGES)[name]
    found = {row: contest.found(row, path, count, name) for row in contest.rows}
    differences = {}
    for row in (row for row in contest.rows if row != BARE):  # `predict` returns the last layer only
        differences[row] = contests.difference(found[row], found[BARE][-len(found[row]) :])
        contests.check_equal(f"{name}, strongest activations", row, differences[row])
    times = contest.times(path, dict.fromkeys(contest.rows, count), name, repeats, budget=float("inf"))
    ratios = {row: times[row].median / times[BARE].median for row in times}
    headers = [f"{name}, {count} images", "seconds", "lowest", "highest", f"times as long as a {BARE}"]
    lines = [[row, found.median, found.low, found.high, ratios[row]] for row, found in times.items()]
    measuring.show(f"Every layer of {name}", headers, lines)
    return {
        "images": count,
        "times": {row: found._asdict() for row, found in times.items()},
        "differences": {row: found._asdict() for row, found in differences.items()},
        "ratios": ratios,
    }


if __name__ == "__main__":
    app()
