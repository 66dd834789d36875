"""Jobs: what runs by itself, when, once."""
