"""Measurements that need models: speed, features, attributions, robustness."""
