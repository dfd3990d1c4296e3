"""Reading and writing weights: downloads, archives, checks of files that others made."""
