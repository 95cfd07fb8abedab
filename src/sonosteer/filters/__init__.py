"""A tip over time."""
