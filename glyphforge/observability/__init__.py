"""What the running system tells: logs, error reports, progress."""
