"""What counting every request costs: four designs side by side on one server, in one interleaved run."""
