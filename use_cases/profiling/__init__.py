"""Profiles of engines: blocks and operators, a request's stages, memory; measured in fresh processes."""
