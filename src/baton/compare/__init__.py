"""Compare strategies: experiments over numbers of labels and seeds, a table, a figure, a recommendation."""
