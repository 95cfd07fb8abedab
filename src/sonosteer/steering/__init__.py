"""Model-based deciders: fit the needle's model to where its tip was seen; plans are to come."""
