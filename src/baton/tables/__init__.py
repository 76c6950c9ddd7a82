"""Turn raw files into clean tables: readers, checks and splits."""
