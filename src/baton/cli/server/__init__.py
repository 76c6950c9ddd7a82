"""`baton server`: an MLflow server on PostgreSQL, for this machine, with logins."""
