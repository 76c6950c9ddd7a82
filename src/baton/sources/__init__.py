"""Data sets and base models from outside: fetched, verified and cached."""
