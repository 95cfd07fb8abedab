"""Table I of Zhang et al. 2026, ours beside theirs."""
