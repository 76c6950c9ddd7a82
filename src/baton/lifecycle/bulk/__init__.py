"""`baton predict`: the answers of a model to any number of rows, in files."""
