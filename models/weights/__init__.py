"""Weights that come with the package: float16 arrays (`.npz`), each with a `.json` saying how they were made."""
