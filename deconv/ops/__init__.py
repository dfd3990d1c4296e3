"""Pure tensor functions: pooling with switches, unpooling, transposed convolution (arXiv:1311.2901, section 2.1)."""
