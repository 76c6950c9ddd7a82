"""Models as MLflow serves them."""
