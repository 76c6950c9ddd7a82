"""What packages agree on."""
