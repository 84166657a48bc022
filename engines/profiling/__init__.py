"""Where an engine's time goes: the runtimes' own profilers, under one naming of blocks."""
