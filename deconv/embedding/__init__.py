"""Images and units as points: t-SNE, PCA, clusters, neighbours."""
