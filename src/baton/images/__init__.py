"""Image decoding and framing."""
