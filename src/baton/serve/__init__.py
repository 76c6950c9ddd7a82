"""Models as others use them."""
