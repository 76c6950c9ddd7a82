"""Raw bytes to tables, tables to arrays, arrays to batches."""
