"""Record, select, mirror, project, verify: the paper's method (arXiv:1311.2901, section 2.1)."""
