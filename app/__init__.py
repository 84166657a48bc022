"""Delivery: the only layer that knows Gradio, HTTP or argv."""
