"""Recipes that compute and draw the figures and tables of the paper.

A recipe is a function that takes a `Subject` and yields `Picture`s. `RECIPES` maps recipe names, as accepted by
`scripts/make_figures.py --only`, to recipes. `draw` writes figures, their numbers and an index page to a folder.
"""

from deconv.figures.drawing import chosen, draw
from deconv.figures.html_index import read_pictures, verdicts, write_index
from deconv.figures.markdown_report import write_results
from deconv.figures.picture import Picture, save
from deconv.figures.published_results import CLAIMS, Finding, Table, published
from deconv.figures.registry import ALSO_CALLED, GROUPS, RECIPES
from deconv.figures.subject import Subject
from deconv.figures.training_runs import Run, read_run, read_runs

__all__ = [
    "ALSO_CALLED",
    "CLAIMS",
    "GROUPS",
    "RECIPES",
    "Finding",
    "Picture",
    "Run",
    "Subject",
    "Table",
    "chosen",
    "draw",
    "published",
    "read_pictures",
    "read_run",
    "read_runs",
    "save",
    "verdicts",
    "write_index",
    "write_results",
]
