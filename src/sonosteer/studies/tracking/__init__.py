"""Paper T's tables and figures, ours beside theirs."""
