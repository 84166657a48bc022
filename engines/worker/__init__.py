"""Between requests and engines: queues, batches, cores, caches. Knows nothing of what an engine computes."""
