"""Fig. 6: first-layer filters with and without RMS clipping, and with strides 4 and 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from deconv import graph
from deconv.diagnostics.filter_statistics import Filters, examine_filters
from deconv.figures.fig6_first_layers import (
    DEAD,
    MEASURED,
    FirstLayer,
    Network,
    filter_comparison_data,
    first_layer,
)
from deconv.figures.picture import Picture
from deconv.figures.published_results import Finding, Table
from deconv.figures.subject import Subject
from deconv.figures.training_runs import read_runs
from deconv.imaging.frequencies import bands
from deconv.plotting import signed
from deconv.plotting.health import ChartedFilters, filter_comparison_sheet

_DOMINATES, _GRID = 2.0, 1.5
_Filters = tuple[str, FirstLayer, Filters]
"""Name of a network, its first layer, and the statistics of the filters of this layer."""


def filter_comparison_pictures(subject: Subject) -> Iterator[Picture]:
    """Draw Fig. 6 and its table; nothing if the first convolution is not applied to the image itself."""
    if first_layer(subject) is None:
        return
    firsts = [(one, first_layer(one)) for one in (subject, *subject.others)]
    strides = tuple(map(max, *(first.strides for _, first in firsts if first is not None), (1, 1)))
    compared = [filter_comparison_data(one, strides) for one, first in firsts if first is not None]
    networks = [network for network in compared if network is not None]
    unclipped, clipped = _clipping(subject)
    panels = [(f"{found.name}, {_size_in_words(found.first)}", found.first.tiles) for found in networks]
    charted = [
        _charted(found.name, found.filters, None if found.second is None else found.second.excess) for found in networks
    ]
    if unclipped is not None:
        name, first, statistics = unclipped
        panels.insert(0, (f"{name}: no clipping, {_size_in_words(first)}", first.tiles))
        charted.insert(0, _charted(f"{name}, no clipping", statistics, None))
    tiles = [(name, signed(filters, scale="shared", percentile=99.8)) for name, filters in panels]
    below = [
        (f"{found.name}, {found.second.name}: strongest unit of {len(found.second.projections)} channels", found.second)
        for found in networks
        if found.second is not None
    ]
    title = f"Filters of {' and '.join(found.name for found in networks)}: scale, frequency, aliasing"
    shown = " and ".join(f"{found.images:,} images of {found.data} ({found.name})" for found in networks)
    caption = (
        "After the paper's Fig. 6. Filters of the first layer in the colours of the images, each panel on one scale; "
        "grey is zero. For channels of the second convolution, drawn at random: projection of the strongest unit over "
        f"{shown}, each divided by {subject.scale}. Charts: RMS of the filters relative to the median; centroid of the "
        "power spectrum of each filter, over all directions; and grid excess, the power of the projections of up to "
        f"{MEASURED} channels at the frequencies of a grid of {strides[0]} px (the largest stride here), divided "
        "by the power at neighbouring frequencies: it is 1 without a grid and larger with aliasing. "
        + ("" if len(networks) > 1 else "There is no other network to compare with. ")
        + ("" if unclipped is not None else "There is no network that was trained without clipping.")
    ).rstrip()
    figure = filter_comparison_sheet(tiles, [(name, second.projections) for name, second in below], charted, title)
    numbers = {found.name: _numbers(found) for found in networks}
    if unclipped is not None:
        numbers["without_clipping"] = {"name": unclipped[0], "rms": unclipped[2].rms, "spread": unclipped[2].spread}
    findings = [_about_clipping(unclipped, clipped or _own(networks[0])), *_about_strides(networks)]
    yield Picture(
        name="fig6_filters",
        title=title,
        caption=caption,
        figure=figure,
        numbers=numbers,
        findings=findings,
        tables=[_table(networks, unclipped)],
    )


def _charted(name: str, filters: Filters, excess: np.ndarray | None) -> ChartedFilters:
    assert filters.frequency is not None  # filters of a convolution
    return ChartedFilters(name, filters.rms, filters.frequency, excess)


def _clipping(subject: Subject) -> tuple[_Filters | None, _Filters | None]:
    """First run without RMS clipping of the filters and first run with it: `(name, FirstLayer, Filters)` each."""
    found: dict[bool, _Filters] = {}
    for run in read_runs(None if subject.runs is None else subject.runs / "regularisation"):
        radius = _radius(run.record)
        if radius is None or bool(radius) in found:
            continue
        model = run.model()
        first = first_layer(subject._replace(model=model))
        if first is not None:
            filters = examine_filters(graph.find(graph.walk(model), first.name).layer)
            assert filters is not None  # the layer is a convolution
            found[bool(radius)] = (run.name, first, filters)
    return found.get(False), found.get(True)


def _radius(record: dict[str, Any]) -> float | None:
    """Maximum RMS of the filters in a run; 0 for no clipping, None if the record does not contain it."""
    change = record.get("variant", {}).get("change")
    change = change if isinstance(change, dict) else {}
    return {**record.get("arguments", {}), **change}.get("filter_radius")


def _own(network: Network) -> _Filters:
    return network.name, network.first, network.filters


def _size_in_words(first: FirstLayer) -> str:
    return f"{len(first.tiles)} of {'×'.join(map(str, first.size))}, stride {first.strides[0]}"


def _numbers(found: Network) -> dict[str, Any]:
    filters = found.filters
    numbers: dict[str, Any] = {"layer": found.first.name, "size": found.first.size, "strides": found.first.strides}
    numbers |= {"images": found.images, "data": found.data, "dead": np.flatnonzero(found.dead)}
    numbers |= {"active": found.health.activity.active, **filters._asdict()}
    if found.second is not None:
        numbers["second"] = {name: value for name, value in found.second._asdict().items() if name != "projections"}
    return numbers


def _table(networks: Sequence[Network], unclipped: _Filters | None) -> Table:
    columns = ["network", "filters", "dead", "RMS, largest / median", "low (%)", "middle (%)", "high (%)"]
    columns += ["aliased energy (%)", "grid excess of layer 2", "of the patches"]
    rows: list[list[Any]] = []
    if unclipped is not None:
        rows.append(
            [f"{unclipped[0]}, no clipping", _size_in_words(unclipped[1]), None, *_row(unclipped[2]), None, None]
        )
    for found in networks:
        second: list[float | None] = [None, None]
        if found.second is not None:
            second = [_rounded(_median(excess), 2) for excess in (found.second.excess, found.second.excess_of_patches)]
        dead = int(found.dead.sum())
        rows.append([found.name, _size_in_words(found.first), dead, *_row(found.filters), *second])
    note = (
        "Low, middle and high: shares of filters whose centroid is below 1/8, up to 1/4 and above 1/4 cycles per "
        "pixel. Aliased energy: the median filter's share above the Nyquist frequency of its stride, for white noise. "
        "Grid excess: medians, on the grid of the largest stride."
    )
    return Table("First-layer filters", columns, rows, note)


def _bands(filters: Filters) -> np.ndarray:
    assert filters.frequency is not None  # filters of a convolution
    return bands(filters.frequency)


def _row(filters: Filters) -> list[float | None]:
    shares = [_rounded(100 * share, 1) for share in _bands(filters)]
    return [_rounded(filters.spread, 2), *shares, _rounded(100 * _median(filters.aliasing), 1)]


def _median(values: np.ndarray | None) -> float:
    assert values is not None
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else np.nan


def _rounded(value: float, digits: int) -> float | None:
    return None if np.isnan(value) else round(float(value), digits)


def _about_clipping(unclipped: _Filters | None, clipped: _Filters) -> Finding:
    criterion = (
        f"without clipping the largest RMS of a first-layer filter is at least {_DOMINATES:g} times the median, "
        "and nearer to it with clipping"
    )
    if unclipped is None:
        return Finding(
            "fig6-clipping",
            None,
            criterion,
            "there is no run trained without clipping (filter_radius 0) beside one with it",
        )
    (free, _, without), (bound, _, with_it) = unclipped, clipped
    confirmed = bool(without.spread >= _DOMINATES and with_it.spread < without.spread)
    measured = f"{without.spread:.2f} times the median without ({free}), {with_it.spread:.2f} with ({bound})."
    return Finding("fig6-clipping", confirmed, criterion, measured)


def _about_strides(networks: Sequence[Network]) -> Iterator[Finding]:
    dead = f"a larger share of filters is dead (silent in all images, or RMS below {DEAD:g} of the median) at the "
    dead += "larger stride"
    middle = "at the larger stride fewer filters have their centroid between 1/8 and 1/4 cycles per pixel than below, "
    middle += "fewer than above, and a smaller share than at the smaller stride"
    grid = "the median excess, on the grid of the larger stride, of the second layer's projections is at least "
    grid += f"{_GRID:g} at that stride, and less than {_GRID:g} at the smaller ({_GRID:g} is our choice)"
    coarse, fine = (choose(networks, key=lambda found: found.first.strides[0]) for choose in (max, min))
    (wide, _), (narrow, _) = coarse.first.strides, fine.first.strides
    if wide == narrow:
        reason = f"there is no network of another stride than {wide} to compare with"
        for claim, criterion in (("fig6-dead", dead), ("fig6-middle", middle), ("fig6-aliasing", grid)):
            yield Finding(claim, None, criterion, reason)
        return
    names = [f"stride {found.first.strides[0]} ({found.name})" for found in (coarse, fine)]
    shares = [found.dead.mean() for found in (coarse, fine)]
    counts = [
        f"{name}: {found.dead.sum()} of {len(found.dead)}" for name, found in zip(names, (coarse, fine), strict=True)
    ]
    yield Finding("fig6-dead", bool(shares[0] > shares[1]), dead, "; ".join(counts) + ".")
    shares = [_bands(found.filters) for found in (coarse, fine)]
    bands_in_words = [
        f"{name}: {share[0]:.0%} low, {share[1]:.0%} middle, {share[2]:.0%} high"
        for name, share in zip(names, shares, strict=True)
    ]
    low, medium, high = shares[0]
    yield Finding("fig6-middle", bool(medium < min(low, high, shares[1][1])), middle, "; ".join(bands_in_words) + ".")
    excess = [np.nan if found.second is None else _median(found.second.excess) for found in (coarse, fine)]
    if np.isnan(excess).any():
        yield Finding("fig6-aliasing", None, grid, "not both have a second convolution whose windows fit the images")
        return
    patches = [_median(found.second.excess_of_patches) for found in (coarse, fine) if found.second is not None]
    excesses = [
        f"{name}: {one:.2f}, of the patches themselves {other:.2f}"
        for name, one, other in zip(names, excess, patches, strict=True)
    ]
    energy = [_median(found.filters.aliasing) for found in (coarse, fine)]
    measured = "; ".join(excesses) + f". Of the median filter's energy {energy[0]:.0%} and {energy[1]:.0%} is aliased."
    yield Finding("fig6-aliasing", bool(excess[0] >= _GRID > excess[1]), grid, measured)
