"""Files from outside: data sets and base models, fetched, verified, kept."""
