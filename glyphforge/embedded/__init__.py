"""A private PostgreSQL for development, demo and tests: no installation, no port, no password.

`server(root)` gives the server whose data lives under `root`; nothing runs until `start()`.
Used only where DATABASE_URL is unset. Production brings its own PostgreSQL.
"""

from glyphforge.embedded.binaries import EmbeddedError
from glyphforge.embedded.cluster import DATABASE, Server, server

__all__ = ["DATABASE", "EmbeddedError", "Server", "server"]
