"""Texts -> the tokens that a model reads; served models include this package, so it imports nothing heavy."""
