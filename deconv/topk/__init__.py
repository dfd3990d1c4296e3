"""The strongest activations of every channel over a data set (Fig. 2)."""
