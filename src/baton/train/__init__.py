"""The core of training: loop, optimizer, checkpoints."""
