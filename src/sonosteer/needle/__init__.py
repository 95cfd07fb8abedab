"""Mechanics of needles in tissue: one model a file."""
