"""Tests of the paper's claims about Tables 2 and 3."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from deconv.figures.published_results import Finding

if TYPE_CHECKING:
    from deconv.figures.table3 import Ensemble, Row

_Networks = Mapping[str, Mapping[str, "Row"]]

COUNTS = "a difference counts if it exceeds two standard errors of two binomial rates on that many images"
_TELLING = 0.25
"""Largest ratio of two standard errors to the error at which a test set can show that the error changes little."""


def standard_error(*errors: float, size: int) -> float:
    """Standard error of a binomial rate on `size` images, or of a difference of rates: `sqrt(sum of e (1 - e) / size)`.

    The rates of a difference are treated as independent. On the same images the difference varies less, so the estimate
    is conservative: it favours "no difference".
    """
    return math.sqrt(sum(error * (1 - error) for error in errors) / size)


def significantly_lower(one: float, other: float, size: int) -> bool:
    """Whether an error rate is lower than another by more than two standard errors of the difference."""
    return other - one > 2 * standard_error(one, other, size=size)


def depth_claims(rows: Iterable[Row]) -> list[Finding]:
    """Test the claims about Table 3.

    Args:
        rows: `deconv.figures.table3.Row`s; rows of the same network and change are averaged.

    Returns:
        List of `Finding`.
    """
    networks = _by_network(rows)
    return [_depth(networks), _dense(networks), _overfit(networks)]


def comparison_claims(rows: Iterable[Row], ensembles: Iterable[Ensemble]) -> list[Finding]:
    """Test the claims about Table 2, for single networks and ensembles; see `depth_claims`."""
    networks = _by_network(rows)
    return [_better(networks), _wide(networks), _together(ensembles)]


def _by_network(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    """Return `{network: {change: Row}}` with the errors of equal networks averaged."""
    networks: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        networks.setdefault(row.network, {}).setdefault(row.change, []).append(row)
    return {
        network: {
            change: same[0]._replace(
                train=float(np.mean([row.train for row in same])), test=float(np.mean([row.test for row in same]))
            )
            for change, same in changes.items()
        }
        for network, changes in networks.items()
    }


def _having(networks: _Networks, *changes: str) -> dict[str, Mapping[str, Row]]:
    """Networks for which all the given changes are available."""
    return {network: found for network, found in networks.items() if set(changes) <= set(found)}


def _finding(claim: str, criterion: str, cases: Sequence[tuple[bool, str]], lacking: str) -> Finding:
    """Finding that is "confirmed" if it holds in all cases; a case is `(whether it holds, its numbers as text)`."""
    if not cases:
        return Finding(claim, None, criterion, lacking)
    return Finding(claim, all(holds for holds, _ in cases), criterion, " ".join(text for _, text in cases))


def _depth(networks: _Networks) -> Finding:
    cases = []
    for network, found in _having(networks, "none", "convolutions", "dense", "convolutions and dense").items():
        whole, whole_size = found["none"].test, found["none"].test_size
        without_convolutions, dense, both = (
            found[change].test for change in ("convolutions", "dense", "convolutions and dense")
        )
        error = standard_error(both, without_convolutions, dense, whole, size=whole_size)
        parts = (without_convolutions - whole, dense - whole)
        holds = both - whole > sum(max(part, 0) for part in parts) + 2 * error and max(parts) < (both - whole) / 2
        text = f"{network}: {_percent(whole)} as it is, without convolutions {_points(parts[0])}, without dense "
        cases.append((holds, f"{text}layers {_points(dense - whole)}, without both {_points(both - whole)} points."))
    criterion = (
        "taking either costs less than half of what taking both costs in test error, and both together cost more than "
        "the sum of the two, by more than two standard errors"
    )
    return _finding("table3-depth", criterion, cases, "there is no network with these layers taken")


def _dense(networks: _Networks) -> Finding:
    cases = []
    for network, found in _having(networks, "none", "half", "double").items():
        whole, size = found["none"].test, found["none"].test_size
        for change in ("half", "double"):
            error = found[change].test
            doubt = 2 * standard_error(error, whole, size=size)
            holds = abs(error - whole) <= max(doubt, 0.1 * whole)
            if doubt > _TELLING * whole and holds:
                few = f"{size:,} test images are too few: {network}, {change}: {_points(error - whole)} points from "
                few += f"{_percent(whole)}, where two standard errors are {100 * doubt:.2f}"
                return Finding("table3-dense", None, _DENSE, few)
            text = f"{network}, {change}: {_points(error - whole)} points from {_percent(whole)}."
            cases.append((holds, text))
    return _finding("table3-dense", _DENSE, cases, "there is no network with dense layers of other sizes")


_DENSE = (
    "with half and with double the units the test error changes by at most a tenth of itself, or by at most two "
    f"standard errors where these are no more than {_TELLING:.0%} of it"
)


def _overfit(networks: _Networks) -> Finding:
    cases = []
    for network, found in _having(networks, "none", "wide", "wide and double").items():
        most, whole, wide = found["wide and double"], found["none"], found["wide"]
        others = [row for change, row in found.items() if change != "wide and double"]
        if any(math.isnan(row.train) for row in found.values()):
            continue
        best_train = min(row.train for row in others)
        fits = most.train < best_train and significantly_lower(most.train, whole.train, most.train_size)
        text = f"{network}: {_percent(most.train)} in training (the best of the others {_percent(best_train)}, as it "
        text += f"is {_percent(whole.train)}), {_percent(most.test)} in the test (wide alone "
        cases.append(
            (fits and significantly_lower(wide.test, most.test, most.test_size), f"{text}{_percent(wide.test)}).")
        )
    criterion = (
        "its training error is the lowest, and lower than that of the network as it is; its test error is higher than "
        f"that of the network with more maps alone; {COUNTS}"
    )
    return _finding("table3-overfit", criterion, cases, "there is no network with both, or no training error is known")


def _better(networks: _Networks) -> Finding:
    cases: list[tuple[bool, str]] = []
    criterion = f"ZFNet's test error is lower than AlexNet's; {COUNTS}"
    if "none" in networks.get("zfnet", {}) and "none" in networks.get("alexnet", {}):
        ours, theirs = networks["zfnet"]["none"], networks["alexnet"]["none"]
        text = f"ZFNet {_percent(ours.test)}, AlexNet {_percent(theirs.test)}, {ours.test_size:,} images."
        cases.append((significantly_lower(ours.test, theirs.test, ours.test_size), text))
    return _finding("table2-better", criterion, cases, "it takes an AlexNet and a ZFNet, trained alike")


def _wide(networks: _Networks) -> Finding:
    cases = []
    for network, found in _having(networks, "none", "wide").items():
        wide, whole = found["wide"], found["none"]
        text = f"{network}: {_percent(wide.test)}, as it is {_percent(whole.test)}, {whole.test_size:,} images."
        cases.append((significantly_lower(wide.test, whole.test, whole.test_size), text))
    criterion = f"with more maps the test error is lower; {COUNTS}"
    return _finding("table2-wide", criterion, cases, "there is no network with more maps")


def _together(ensembles: Iterable[Ensemble]) -> Finding:
    cases = [
        (
            significantly_lower(found.together, float(found.each.mean()), found.size),
            f"{found.name}: {_percent(found.together)} together, {_percent(found.each.mean())} alone on average, the "
            f"best {_percent(found.each.min())}; {found.size:,} images.",
        )
        for found in ensembles
    ]
    criterion = f"averaging their probabilities makes fewer errors than they do on average; {COUNTS}"
    lacking = "there are not two networks of one kind with the held-out images that they were tested on"
    return _finding("table2-ensemble", criterion, cases, lacking)


def _percent(error: float) -> str:
    return f"{100 * error:.2f} %"


def _points(difference: float) -> str:
    return f"{100 * difference:+.2f}"
