"""Models on runtimes: load a dual encoder, embed images and texts, batch the calls."""
