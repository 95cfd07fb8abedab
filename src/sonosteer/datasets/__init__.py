"""Data sets on disk: make, read, describe, import and export them. No PyTorch."""
