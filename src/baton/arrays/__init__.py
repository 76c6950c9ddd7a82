"""Clean tables -> memory-mapped arrays of token ids or pixels."""
