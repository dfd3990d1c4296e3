"""What layers compute, how invariant and how healthy they are (Figs. 5, 6)."""
