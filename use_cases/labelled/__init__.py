"""Images with labels: how well models classify them, and how far their probabilities can be trusted."""
