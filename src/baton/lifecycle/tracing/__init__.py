"""The origin of a file, model or run, and what was made from it."""
