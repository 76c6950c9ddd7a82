"""Retraining: deciding whether a champion is retrained, and the job that does it."""
