"""Benchmarks against other packages: a script for each question, and the modules that the scripts share."""
