"""How long the pages of the back office take, on a database of a given size."""
