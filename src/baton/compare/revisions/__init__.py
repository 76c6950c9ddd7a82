"""`baton compare REV REV`: two revisions on the rows that both have predictions for."""
