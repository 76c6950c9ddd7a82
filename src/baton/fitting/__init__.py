"""Training runs of a stage: the place where arrays, model, loss and tracking meet."""
