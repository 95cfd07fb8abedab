"""Videos to learn from: made, imported, read. No torch in this room."""
