"""Decoding and framing of images."""
