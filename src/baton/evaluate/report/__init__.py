"""Tables, plots and the terminal summary of the report."""
