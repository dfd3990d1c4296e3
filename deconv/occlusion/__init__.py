"""Hiding parts of the image (Figs. 7, 8, Table 1)."""
