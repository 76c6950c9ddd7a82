"""Labels that are still to be made: how much more of them would help, and which rows to label first."""
