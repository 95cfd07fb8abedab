"""The study of steering where the straight way is blocked."""
