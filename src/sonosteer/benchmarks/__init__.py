"""Speed, each figure as a ratio to a stated reference measured in the same run."""
