"""Baton: a reproducible transfer-learning pipeline."""
