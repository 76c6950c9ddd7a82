"""Encoders with a classification head, and students made from them."""
