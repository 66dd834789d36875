"""A database like that of a company of a given size, migrated for real and kept: what the benchmarks read."""
