"""Drivers: cleared orders out, encoders in."""
