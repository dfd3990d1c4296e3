"""Reading and writing weights: downloads, archives, checks of untrusted files."""
