"""Clean tables to memory-mapped arrays: token ids and pixels."""
