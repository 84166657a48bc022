"""SigLIP against CLIP on the same input: where their answers differ, and why."""
