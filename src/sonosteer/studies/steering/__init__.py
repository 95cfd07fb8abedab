"""Paper S's tables and figures, ours beside theirs."""
