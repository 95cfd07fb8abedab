"""The published tables and figures, ours beside theirs. One folder for each study."""
