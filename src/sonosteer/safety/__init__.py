"""What stands between a decision and a robot: limits, the gate, the latched stop. Imports nothing but core."""
