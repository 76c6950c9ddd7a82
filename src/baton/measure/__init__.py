"""What is measured with models: speed, features, attributions, robustness."""
