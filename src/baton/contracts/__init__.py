"""Formats that several packages share."""
