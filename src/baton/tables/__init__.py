"""Raw files to clean tables: readers, checks, splits."""
