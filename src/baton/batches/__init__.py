"""Arrays -> batches: which samples share a batch, and the inputs that a model gets."""
