"""What every page of the back office is built from."""
