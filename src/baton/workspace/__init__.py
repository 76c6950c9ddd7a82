"""Access to Git, DVC and DVC's files."""
