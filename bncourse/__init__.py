"""The code of the course on batch normalization: the layer, networks, experiments, checked exercises."""
