"""How wrong were we: tip and axis error, coverage, latency."""
