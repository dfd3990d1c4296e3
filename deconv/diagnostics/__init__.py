"""Diagnostics of layers: activation maps, invariance, and health (Figs. 5 and 6)."""
