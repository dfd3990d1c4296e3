"""Evolution of features during training (Fig. 4)."""
