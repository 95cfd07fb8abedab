"""A run on disk: write as it happens, read back what there is."""
