"""The Gradio interface: one file for each tab."""
