"""The sentence that goes with every result."""

NOT_A_DEVICE = "Research software, not a medical device."
