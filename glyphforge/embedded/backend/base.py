"""Django's PostgreSQL backend, except that the embedded server is started before the first connection.

Settings use it only while DATABASE_URL is unset. The server's files are under `EMBEDDED_ROOT` of the
DATABASES entry, by default under `postgres` in `settings.VAR_DIR`. The process that started it stops it
at its end, unless another one is using it by then: a command leaves nothing running behind.
"""

import atexit
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.backends.postgresql import base
from django.db.utils import OperationalError

from glyphforge.embedded import EmbeddedError, Server, server
from glyphforge.embedded.cluster import PORT, USER

_ready: set[Path] = set()


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to the embedded server; fills HOST, PORT and USER of the entry in, as dbshell needs them."""

    def __init__(self, settings_dict: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        self.embedded = server(Path(settings_dict.get("EMBEDDED_ROOT") or settings.VAR_DIR / "postgres"))
        # In place: the dictionary is shared with the copies that Django makes for tests and threads.
        settings_dict.update(HOST=str(self.embedded.socket_folder), PORT=str(PORT), USER=USER)
        super().__init__(settings_dict, *args, **kwargs)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Start the server where it does not run; OperationalError, as for any database, when it will not."""
        # Once a process waits for the database to exist; later the check is two small files.
        if self.embedded.root not in _ready or not self.embedded.is_running():
            try:
                if self.embedded.start():
                    atexit.register(_stop_at_exit, self.embedded, os.getpid())
            except EmbeddedError as error:
                raise OperationalError(str(error)) from error
            _ready.add(self.embedded.root)
        return super().get_new_connection(conn_params)


def _stop_at_exit(embedded: Server, starter: int) -> None:
    if os.getpid() == starter:  # not in a fork of it
        connections.close_all()
        embedded.stop_if_unused()
