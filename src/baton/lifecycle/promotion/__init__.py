"""The gate, and what follows from its judgement."""
