"""How long each page of the back office takes, and how many queries, on a database of a given size."""
