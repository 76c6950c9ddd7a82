"""Whether a champion has to be trained again, and the run that does it."""
