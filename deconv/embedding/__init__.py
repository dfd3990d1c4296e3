"""Embeddings of images and of units in the plane: t-SNE, PCA, clusters, nearest neighbours."""
