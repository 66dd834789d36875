"""The HTTP API of the API servers: authenticate a key, check its rate limit, record usage in batches."""
