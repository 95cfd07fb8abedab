"""What a person sees: overlays, plots, reports."""
