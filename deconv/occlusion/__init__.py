"""Occlusion of parts of an image: sensitivity and correspondence (Figs. 7 and 8, Table 1)."""
