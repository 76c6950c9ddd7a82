"""From texts to the tokens that a model reads; also shipped with served models, so nothing heavy is imported."""
