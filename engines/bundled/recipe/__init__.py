"""The recipe that rebuilds the training data, trains both heads and measures them."""
