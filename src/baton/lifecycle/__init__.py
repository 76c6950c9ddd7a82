"""The life of a trained model: the registry, the gate, retraining, and the trace of any file or model."""
