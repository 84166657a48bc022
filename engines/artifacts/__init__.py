"""Files that are built from a model on first use, kept in a cache folder."""
