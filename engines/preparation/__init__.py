"""Images and texts, prepared exactly as a model was trained."""
