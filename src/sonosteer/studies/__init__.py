"""The published tables and figures, ours beside theirs: one file for each paper's set."""
