"""`baton serve`: a verified model behind MLflow's scoring protocol, with limits on requests."""
