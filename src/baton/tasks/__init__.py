"""Figures, temperature and answers, by the kind of task."""
