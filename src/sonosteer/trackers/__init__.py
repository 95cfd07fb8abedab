"""Frames -> tip, one published method a file."""
