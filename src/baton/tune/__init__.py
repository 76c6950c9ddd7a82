"""Tune a recipe: trials with other values, judged on validation, by any number of workers."""
