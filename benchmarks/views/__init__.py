"""How long each monitoring view takes, and by which plan, on a database of a given size."""
