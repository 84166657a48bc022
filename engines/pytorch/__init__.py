"""PyTorch modules: every family's towers, and the engines that run them."""
