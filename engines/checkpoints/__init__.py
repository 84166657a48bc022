"""Checkpoints: found, downloaded, read for their facts, or written with random weights."""
