"""Facts about the machine that this process runs on."""
