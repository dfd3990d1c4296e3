"""Evaluation of features by linear classifiers and on other tasks (Tables 4 to 7, Fig. 9)."""
