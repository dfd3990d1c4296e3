"""Published tables and claims of the paper (arXiv:1311.2901v3, its numbering), for comparison with our results."""

import json
from functools import cache
from importlib import resources
from typing import NamedTuple


class Claim(NamedTuple):
    """A claim of the paper, in our words, and the figure or table that it belongs to."""

    place: str
    text: str


class Finding(NamedTuple):
    """Test result for a claim.

    Attributes:
        claim: A key of `CLAIMS`.
        seen: Whether the claim is confirmed; None if it cannot be tested with these data.
        criterion: Condition for "seen", evaluated by the recipe and not by visual inspection.
        measured: The numbers that decided, or the reason why there are none.
    """

    claim: str
    seen: bool | None
    criterion: str
    measured: str

    @property
    def verdict(self):
        """`seen` in words."""
        return {True: "seen", False: "not seen", None: "cannot be tested with this data"}[self.seen]


class Table(NamedTuple):
    """A table, ours or the paper's.

    Attributes:
        title: Title, one line.
        columns: Names of the columns; the first column contains the row names.
        rows: Lists of strings, numbers and None (unknown), each as long as `columns`.
        note: Additional remark.
    """

    title: str
    columns: list
    rows: list
    note: str = ""


CLAIMS = {
    "fig2-grouping": Claim("Fig. 2", "The nine strongest activations of a feature map show the same structure."),
    "fig2-invariance": Claim("Fig. 2", "Higher layers are more invariant: what excites one map there varies more."),
    "fig2-discriminative": Claim(
        "Fig. 2", "Projections vary less than the patches beside them: they keep to the discriminative structure."
    ),
    "fig3-sizes": Claim("Fig. 3", "Maps of 110, 55, 26, 13, 13, 13, 13 and 6 cells a side for 224 pixels."),
    "fig4-low-first": Claim("Fig. 4", "Features of the lower layers converge within a few epochs."),
    "fig4-high-late": Claim("Fig. 4", "Those of the upper layers develop only after many epochs (40 to 50)."),
    "fig4-jumps": Claim("Fig. 4", "A feature jumps where another image comes to excite it most."),
    "fig5-first-layer": Claim("Fig. 5", "Small transformations change the first layer's features dramatically."),
    "fig5-last-layer": Claim(
        "Fig. 5", "They change the last hidden layer's less, and nearly in proportion to translation and scale."
    ),
    "fig5-output": Claim("Fig. 5", "The output is stable to translation and scaling."),
    "fig5-rotation": Claim("Fig. 5", "The output is not stable to rotation."),
    "fig5-symmetry": Claim("Fig. 5", "It is for an object with rotational symmetry."),
    "fig6-clipping": Claim("Fig. 6 a", "Without clipping of the filters' RMS one first-layer filter dominates."),
    "fig6-dead": Claim("Fig. 6 b, c", "7x7 filters at stride 2 have fewer dead ones than 11x11 at stride 4."),
    "fig6-middle": Claim(
        "Fig. 6 b, c", "11x11 filters at stride 4 hold very high and low frequencies, little in the middle."
    ),
    "fig6-aliasing": Claim("Fig. 6 d, e", "Stride 4 causes aliasing in the second layer; stride 2 does not."),
    "fig7-object": Claim("Fig. 7 d", "The probability of the class drops where the object is covered."),
    "fig7-structure": Claim(
        "Fig. 7 b, c", "The strongest map's activity drops where the structure in its projection is covered."
    ),
    "fig7-other-class": Claim("Fig. 7 e", "Covering part of the object can make another class the most probable."),
    "table1-layer5": Claim(
        "Table 1", "In layer 5, hiding one part of an object changes features more alike than hiding random parts."
    ),
    "table1-layer7": Claim("Table 1", "In layer 7 this part and random parts differ less."),
    "table2-better": Claim("Table 2", "7x7 filters at stride 2 make fewer errors than 11x11 at stride 4."),
    "table2-wide": Claim("Table 2", "More maps in layers 3, 4 and 5 make fewer errors."),
    "table2-ensemble": Claim("Table 2", "Several networks together make fewer errors than one."),
    "table3-depth": Claim(
        "Table 3", "Taking the middle convolutions or the dense layers costs little, taking both costs much."
    ),
    "table3-dense": Claim("Table 3", "The size of the dense layers changes little."),
    "table3-overfit": Claim(
        "Table 3", "More maps in the middle and larger dense layers together fit the training data best, not the test."
    ),
    "table4-transfer": Claim("Tables 4, 5", "Features of a trained network beat training from scratch by far."),
    "fig9-few": Claim("Fig. 9", "A few images per class suffice to beat what others reach with sixty."),
    "table6-voc": Claim(
        "Table 6", "On VOC 2012 the features come within 3.2 points of the best and win 5 classes of 20."
    ),
    "table7-depth": Claim("Table 7", "Classes are the better told apart the deeper the layer."),
}
"""Claims of the paper by name, in the order of the paper."""


def published(name):
    """Return a table as printed in the paper.

    Args:
        name: `"table1"` to `"table7"`.

    Returns:
        `Table`.
    """
    return _published()[name]


@cache
def _published():
    text = resources.files("deconv.figures").joinpath("published.json").read_text(encoding="utf-8")
    return {name: Table(**table) for name, table in json.loads(text).items()}
