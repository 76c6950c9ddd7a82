"""Figures, tests, plots and reports from tables; no torch."""
