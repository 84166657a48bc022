"""Images behind URLs that a stranger names: fetched from the public internet alone, if at all."""
