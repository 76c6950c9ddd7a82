"""Clips of sound: decoding them, and their spectrograms as a model reads them."""
