"""Metrics, tests, plots and reports from tables; without torch."""
