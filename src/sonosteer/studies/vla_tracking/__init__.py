"""Paper V's Table I, ours beside theirs."""
