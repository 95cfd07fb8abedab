"""Weights on disk: read, write, export, and run through PyTorch."""
