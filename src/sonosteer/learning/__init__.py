"""Training: each stage writes what the rest of the package reads."""
