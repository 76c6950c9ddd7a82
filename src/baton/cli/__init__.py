"""The command line for everything that is not a stage."""
