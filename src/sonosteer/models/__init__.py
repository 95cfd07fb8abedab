"""Weights that ship, each in a folder with its card; `graphs` finds a model's folder and runs what is in it."""
