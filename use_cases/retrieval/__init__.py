"""Image-text retrieval: an index of images, how it is filled, and how it is searched."""
