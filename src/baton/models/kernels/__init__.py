"""Attention and dropout of our own."""
