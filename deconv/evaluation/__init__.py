"""Evaluation of explanations: sanity checks, deletion and insertion curves, and a comparison of methods."""
