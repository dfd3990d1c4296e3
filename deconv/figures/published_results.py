"""Published tables and claims of the paper (arXiv:1311.2901v3, its numbering), for comparison with our results."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

NO_CLASSES = "the network has no class outputs"
"""The reason for which some claims cannot be tested with a network without its classifier."""


class Claim(NamedTuple):
    """A claim of the paper, in our words, and the figure or table that it belongs to."""

    place: str
    text: str


class Finding(NamedTuple):
    """Test result for a claim.

    Attributes:
        claim: A key of `CLAIMS`.
        seen: Whether the claim is confirmed; None if it cannot be tested with this network and data.
        criterion: Condition for "confirmed", evaluated by the recipe and not by visual inspection.
        measured: The numbers that decided, or the reason why there are none.
    """

    claim: str
    seen: bool | None
    criterion: str
    measured: str

    @property
    def verdict(self) -> str:
        """`seen` in words."""
        return {True: "confirmed", False: "not confirmed", None: "cannot be tested"}[self.seen]


class Table(NamedTuple):
    """A table, ours or the paper's.

    Attributes:
        title: Title, one line.
        columns: Names of the columns; the first column contains the row names.
        rows: Lists of strings, numbers and None (unknown), each as long as `columns`.
        note: Additional remark.
    """

    title: str
    columns: list[str]
    rows: list[list[Any]]
    note: str = ""


CLAIMS = {
    "fig2-grouping": Claim("Fig. 2", "The nine strongest activations of a feature map show the same structure."),
    "fig2-invariance": Claim(
        "Fig. 2", "Higher layers are more invariant: the patches that activate one of their maps vary more."
    ),
    "fig2-discriminative": Claim(
        "Fig. 2", "Projections vary less than their image patches: they show the discriminative structure only."
    ),
    "fig3-sizes": Claim("Fig. 3", "Maps of 110, 55, 26, 13, 13, 13, 13 and 6 cells a side for 224 pixels."),
    "fig4-low-first": Claim("Fig. 4", "Features of the lower layers converge within a few epochs."),
    "fig4-high-late": Claim("Fig. 4", "Features of the upper layers develop only after many epochs (40 to 50)."),
    "fig4-jumps": Claim("Fig. 4", "A feature jumps when the image with its strongest activation changes."),
    "fig5-first-layer": Claim("Fig. 5", "Small transformations change the first layer's features dramatically."),
    "fig5-last-layer": Claim(
        "Fig. 5",
        "They change the last hidden layer's features less, and nearly in proportion to translation and scale.",
    ),
    "fig5-output": Claim("Fig. 5", "The output is stable to translation and scaling."),
    "fig5-rotation": Claim("Fig. 5", "The output is not stable to rotation."),
    "fig5-symmetry": Claim("Fig. 5", "The output is stable to rotation for an object with rotational symmetry."),
    "fig6-clipping": Claim("Fig. 6 a", "Without clipping of the filters' RMS one first-layer filter dominates."),
    "fig6-dead": Claim("Fig. 6 b, c", "Fewer 7x7 filters at stride 2 are dead than 11x11 filters at stride 4."),
    "fig6-middle": Claim(
        "Fig. 6 b, c", "11x11 filters at stride 4 contain very high and low frequencies and few middle frequencies."
    ),
    "fig6-aliasing": Claim("Fig. 6 d, e", "Stride 4 causes aliasing in the second layer; stride 2 does not."),
    "fig7-object": Claim("Fig. 7 d", "The probability of the class drops where the object is occluded."),
    "fig7-structure": Claim(
        "Fig. 7 b, c", "The activity of the strongest map drops where the structure in its projection is occluded."
    ),
    "fig7-other-class": Claim("Fig. 7 e", "Occluding part of the object can make another class the most probable."),
    "table1-layer5": Claim(
        "Table 1",
        "In layer 5, occluding one part of an object changes features more consistently than occluding random parts.",
    ),
    "table1-layer7": Claim("Table 1", "In layer 7, the difference between this part and random parts is smaller."),
    "table2-better": Claim("Table 2", "7x7 filters at stride 2 make fewer errors than 11x11 at stride 4."),
    "table2-wide": Claim("Table 2", "More maps in layers 3, 4 and 5 reduce the error."),
    "table2-ensemble": Claim("Table 2", "An ensemble of several networks makes fewer errors than one network."),
    "table3-depth": Claim(
        "Table 3",
        "Removing the middle convolutions or the dense layers increases the error a little, removing both a lot.",
    ),
    "table3-dense": Claim("Table 3", "The size of the dense layers has little effect."),
    "table3-overfit": Claim(
        "Table 3", "More middle maps together with larger dense layers fit the training data best, but overfit."
    ),
    "table4-transfer": Claim("Tables 4, 5", "Features of a trained network are far better than training from scratch."),
    "fig9-few": Claim("Fig. 9", "A few images per class suffice to exceed the accuracy of other methods with sixty."),
    "table6-voc": Claim(
        "Table 6", "On VOC 2012 the features come within 3.2 points of the best and win 5 classes of 20."
    ),
    "table7-depth": Claim("Table 7", "Deeper layers separate the classes better."),
}
"""Claims of the paper by name, in the order of the paper."""


def published(name: str) -> Table:
    """Return a table as printed in the paper.

    Args:
        name: `"table1"` to `"table7"`.

    Returns:
        `Table`.
    """
    return _published()[name]


@cache
def _published() -> dict[str, Table]:
    text = resources.files("deconv.figures").joinpath("published.json").read_text(encoding="utf-8")
    return {name: Table(**table) for name, table in json.loads(text).items()}
