"""What the product can do: scoring in plain numpy, and one asynchronous entry for each use."""
