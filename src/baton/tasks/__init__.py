"""Losses, metrics and calibration."""
