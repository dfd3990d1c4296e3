"""Whether an explanation can be trusted: sanity checks, deletion and insertion, methods side by side."""
