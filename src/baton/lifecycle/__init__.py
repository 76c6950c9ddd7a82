"""From a trained model to the champion and back: the registry, the gate, retraining, and where anything came from."""
