"""Arrays to batches: which samples share one, and what a model gets of them."""
