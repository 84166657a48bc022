"""How fast images are indexed and found again, measured."""
