"""Processes: their start, supervision, signals, locks and end."""
