"""How long do the projections of Fig. 2 take, and how long in other packages?

All units that the figure shows, the nine strongest of every channel of every convolution: 12,384 of AlexNet over 20
photographs, 198 of LeNet-5 over 1,000 digits. Ours are measured on all of them. The others, and our plain ways, are
measured on a sample, all nine units of --channels channels a layer, drawn with --seed; their times are scaled to the
layer, but for the forward pass of the images where it is done only once.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from benchmarks import contests, measuring, subjects
from scripts import command_line

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

US, PLAIN = "deconvnet", "deconvnet, windowed=False"
QUICK = {"alexnet": {"layers": ("conv2",), "channels": 1, "count": 4}, "lenet5": {"channels": 2, "count": 20}}


@app.command(help=__doc__)
def main(
    model: measuring.Networks = None,
    channels: Annotated[int, typer.Option(help="Channels of each layer that the sample has.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the draw of these channels.")] = 0,
    python_xplique: measuring.PythonXplique = None,
    repeats: measuring.Repeats = 5,
    threads: measuring.Threads = 2,
    out: measuring.Out = None,
    quick: measuring.Quick = False,
):
    networks = measuring.check_options(repeats, threads, out, model, tuple(subjects.NETWORKS))
    command_line.check("--channels", channels, channels >= 1, "at least 1")
    command_line.check("--seed", seed, seed >= 0, "at least 0")
    families = {"by_torch": None, "by_xplique": python_xplique}
    try:
        with contests.Contest("projections", families, threads, quick) as contest:
            content = {**contest.about(), "networks": {}}
            for name in networks:
                choice = {"channels": channels, "seed": seed} | (QUICK[name] if quick else {})
                content["networks"][name] = _measure(contest, name, choice, repeats, quick)
    except (OSError, RuntimeError) as error:
        command_line.fail(error)
    measuring.write(out, content)


def _measure(contest, name, choice, repeats, quick):
    """All layers of one network: the times, and the differences of the results."""
    path, counts = contest.make(name, **choice)
    layers = {}
    for layer, (units, sampled) in counts.items():
        key, sample = layer, (layer, "sample")
        tried = {} if quick else {row: contest.tune(row, path, sample, key) for row in contest.rows}
        expected = contest.found(PLAIN, path, sample, key)
        differences = {}
        for row in contest.rows:
            if row != PLAIN:
                differences[row] = contests.difference(contest.found(row, path, sample, key), expected)
                contests.check_equal(f"{name} {layer}", row, differences[row], few=not row.startswith(US))
        cases = {row: (layer, "all") if row == US and not quick else sample for row in contest.rows}
        times = contest.times(path, cases, key, repeats)
        scales = {row: units / (units if cases[row][1] == "all" else sampled) for row in cases}
        once = {row: contest.once(row, path, cases[row], key) if scales[row] > 1 else 0.0 for row in cases}
        seconds = {row: scales[row] * max(times[row].median - once[row], 0) + once[row] for row in cases}
        layers[layer] = {
            "units": units,
            "sampled": sampled,
            "times": {row: found._asdict() for row, found in times.items()},
            "tried": tried,
            "differences": {row: found._asdict() for row, found in differences.items()},
            "once": once,
            "seconds": seconds,
            "ratios": {row: seconds[row] / seconds[US] for row in seconds},
        }
        layers[layer]["best"] = contests.best(layers[layer]["ratios"])
    whole = {row: sum(layers[layer]["seconds"][row] for layer in layers) for row in contest.rows}
    ratios = {row: whole[row] / whole[US] for row in whole}
    _show(name, layers, whole, ratios)
    return {"layers": layers, "seconds": whole, "ratios": ratios, "best": contests.best(ratios)}


def _show(name, layers, whole, ratios):
    everything = sum(layer["units"] for layer in layers.values())
    headers = [f"{name}, by", *(f"{layer} ({layers[layer]['units']})" for layer in layers), f"all ({everything})"]
    seconds = [[row, *(layer["seconds"][row] for layer in layers.values()), whole[row]] for row in whole]
    times = [[row, *(layer["ratios"][row] for layer in layers.values()), ratios[row]] for row in whole]
    measuring.show("Seconds for all units", headers, seconds)
    measuring.show(f"Times as long as {US}", headers, times)


if __name__ == "__main__":
    app()
