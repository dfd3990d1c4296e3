"""Recipes by name, in the order of the paper, and the groups of training runs that they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deconv.figures.activations import activation_pictures
from deconv.figures.fig1 import scheme_pictures
from deconv.figures.fig2 import top_pictures
from deconv.figures.fig3 import architecture_pictures
from deconv.figures.fig4 import evolution_pictures
from deconv.figures.fig5 import invariance_pictures
from deconv.figures.fig6 import filter_comparison_pictures
from deconv.figures.fig7 import occlusion_pictures
from deconv.figures.filters import filter_pictures
from deconv.figures.health import health_pictures
from deconv.figures.picture import Picture
from deconv.figures.pooling import pooling_pictures
from deconv.figures.subject import Subject
from deconv.figures.table1 import correspondence_pictures
from deconv.figures.table3 import error_pictures
from deconv.figures.table4 import transfer_pictures
from deconv.figures.table7 import probe_pictures

RECIPES: dict[str, Callable[[Subject], Iterator[Picture]]] = {
    "fig1": scheme_pictures,
    "fig2": top_pictures,
    "fig3": architecture_pictures,
    "fig4": evolution_pictures,
    "fig5": invariance_pictures,
    "fig6": filter_comparison_pictures,
    "fig7": occlusion_pictures,
    "table1": correspondence_pictures,
    "table3": error_pictures,
    "transfer": transfer_pictures,
    "table7": probe_pictures,
    "pooling": pooling_pictures,
    "filters": filter_pictures,
    "activations": activation_pictures,
    "health": health_pictures,
}
"""Recipes by name. A recipe takes a `Subject` and yields `Picture`s; none if it does not apply."""

ALSO_CALLED = {
    "fig8": "table1",
    "table2": "table3",
    "table4": "transfer",
    "table5": "transfer",
    "table6": "transfer",
    "fig9": "transfer",
}
"""Other figures and tables of the paper, and the recipe that draws them."""

GROUPS = {"fig4": ("evolution",), "fig6": ("regularisation",), "table3": ("ablation",), "health": ("regularisation",)}
"""Groups of `Subject.runs` that a recipe reads."""
