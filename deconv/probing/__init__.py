"""What features are worth for other tasks (Tables 4 to 7, Fig. 9)."""
