"""Programs behind README's speed figures: `make bench`."""
