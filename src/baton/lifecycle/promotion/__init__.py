"""The gate and the promotion that follows its verdict."""
