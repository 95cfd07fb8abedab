"""A world that answers like the real one: probe, tissue field, needle echoes, display."""
