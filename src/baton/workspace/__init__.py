"""Git, DVC and its files."""
