"""One file per DVC stage, to read from top to bottom."""
