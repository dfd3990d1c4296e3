"""Features during training (Fig. 4)."""
