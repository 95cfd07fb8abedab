"""Paper V's Table II, ours beside theirs."""
