"""The questions of the well-known database-like benchmark: group-bys of one table, and joins of it with others."""
