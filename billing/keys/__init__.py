"""API keys: their format, their life, and how one is checked."""
