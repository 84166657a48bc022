"""What the traces of a server's requests say: times by stage, over time, and of single requests."""
