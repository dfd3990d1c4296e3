"""Read and write weights: downloads, archives, checks of untrusted files."""
