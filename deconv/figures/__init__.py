"""One recipe per picture: a function that computes its data and one that draws it.

A recipe is a function of a `Subject` that yields `Picture`s; `RECIPES` knows them by the names that
`scripts/make_figures.py --only` takes.
"""

from deconv.figures.activations import activation_pictures
from deconv.figures.fig1 import scheme_pictures
from deconv.figures.fig2 import top_pictures
from deconv.figures.fig7 import occlusion_pictures
from deconv.figures.filters import filter_pictures
from deconv.figures.index import write_index
from deconv.figures.pooling import pooling_pictures
from deconv.figures.record import Picture, save
from deconv.figures.subject import Subject

RECIPES = {
    "fig1": scheme_pictures,
    "fig2": top_pictures,
    "filters": filter_pictures,
    "activations": activation_pictures,
    "pooling": pooling_pictures,
    "fig7": occlusion_pictures,
}

__all__ = ["RECIPES", "Picture", "Subject", "save", "write_index"]
