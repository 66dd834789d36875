"""How fast the webhook endpoint answers while the worker runs, and how steadily a backlog drains."""
