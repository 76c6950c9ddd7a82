"""Linear models on sparse or dense features, by scikit-learn."""
