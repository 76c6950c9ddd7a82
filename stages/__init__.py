"""One file a DVC stage, read top to bottom."""
