"""Before a run: what each stage will take, from a few of its real steps; and afterwards, what it took."""
