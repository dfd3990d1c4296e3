"""Verdicts on the claims about Fig. 5, except for the one about symmetry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deconv.figures.published_results import NO_CLASSES, Finding
from deconv.imaging.affine_transforms import KINDS

DRAMATIC, STEADY, STRAIGHT = 3, 0.75, 0.9
"""Thresholds of the claims, for which the paper gives no numbers: a change is dramatic if the first step is three times
as long as proportional growth gives, steady if 75 % is kept, and nearly proportional if R² is at least 0.9."""


def invariance_findings(
    measured: Mapping[str, dict[str, Any]], layers: Sequence[str], whose: str = "", score: str | None = "probability"
) -> list[Finding]:
    """Test the claims about Fig. 5, except for the one about symmetry.

    Args:
        measured: `{kind: measures}`.
        layers: Names of the first and of the last hidden layer.
        whose: Additional remark on the probabilities.
        score: Kind of model output; claims about the output are tested for probabilities only. None without class
            outputs.

    Returns:
        List of `Finding`.
    """
    first, last = layers
    (quick, _), (moved, moved_last), (straight, straight_last) = (
        [{kind: measured[kind]["layers"][layer][name] for kind in KINDS} for layer in layers]
        for name in ("quickness", "moved", "linearity")
    )
    usual = {kind: measured[kind]["in_proportion"] for kind in KINDS}
    steps = {
        "translation": f"{measured['translation']['step']:g} px",
        "scale": f"a factor of {1 + measured['scale']['step']:g}",
        "rotation": f"{measured['rotation']['step']:g} degrees",
    }
    straight_kinds = ("translation", "scale")
    return [
        Finding(
            "fig5-first-layer",
            _known(all(quick[kind] >= DRAMATIC * usual[kind] for kind in KINDS), *quick.values()),
            f"for each of the three transforms {first} moves at the smallest step by at least {DRAMATIC} times the "
            "share of its largest distance that would be in proportion (median over images)",
            "; ".join(f"{quick[kind]:.0%} at {steps[kind]}, in proportion {usual[kind]:.0%}" for kind in KINDS),
        ),
        Finding(
            "fig5-last-layer",
            _known(
                all(moved_last[kind] < moved[kind] and straight_last[kind] >= STRAIGHT for kind in straight_kinds),
                *(each[kind] for kind in straight_kinds for each in (moved, moved_last, straight_last)),
            ),
            f"for translation and for scale {last} moves at the smallest step by a smaller share of |f(x)| than "
            f"{first}, and R² of its distance against the size of the transform, on a line through the origin, is "
            f"{STRAIGHT:g} or more (medians over images)",
            "; ".join(
                f"{kind}: {moved_last[kind]:.0%} of |f(x)| at {steps[kind]} ({first} {moved[kind]:.0%}), "
                f"R² {straight_last[kind]:.2f} ({first} {straight[kind]:.2f})"
                for kind in straight_kinds
            ),
        ),
        *_output_findings(measured, whose, score),
    ]


def _output_findings(measured: Mapping[str, dict[str, Any]], whose: str, score: str | None) -> list[Finding]:
    """Test the claims about the stability of the output."""
    kinds = ("translation", "scale")
    criterion = (
        f"over the whole range the mean probability of the class is at least {STEADY:.0%} of that in the images as "
        f"they are, and at least {STEADY:.0%} of the predictions are the same as there"
    )
    criteria = f"for translation and for scale, {criterion}", f"it is not so that {criterion}"
    if score != "probability":
        reason = NO_CLASSES if score is None else f"what the network puts out is no probability: {score}"
        names = "fig5-output", "fig5-rotation"
        return [Finding(name, None, text, reason) for name, text in zip(names, criteria, strict=True)]
    retained = {
        kind: f"{kind}: {values['kept']:.0%} of the probability kept, "
        f"{values['unchanged']:.0%} of the predictions the same"
        for kind, values in measured.items()
    }
    steady = {kind: min(values["kept"], values["unchanged"]) >= STEADY for kind, values in measured.items()}
    return [
        Finding(
            "fig5-output",
            all(steady[kind] for kind in kinds),
            criteria[0],
            "; ".join(retained[kind] for kind in kinds) + whose,
        ),
        Finding(
            "fig5-rotation",
            not steady["rotation"],
            criteria[1],
            retained["rotation"] + whose,
        ),
    ]


def _known(answer: bool, *numbers: float) -> bool | None:
    """Return the answer, or None if a number that it depends on is NaN."""
    return None if np.isnan(numbers).any() else bool(answer)
