"""Weights included in the package: float16 arrays (`.npz`), each with a `.json` that describes their training."""
