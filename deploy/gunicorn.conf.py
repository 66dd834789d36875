"""Gunicorn for the web process: `gunicorn --config deploy/gunicorn.conf.py`, from the project's folder."""

import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

from glyphforge.observability import logs

wsgi_app = "glyphforge.wsgi"
bind = os.environ.get("WEB_BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_PROCESSES", "2"))
# The pages wait for PostgreSQL more than they compute; DATABASE_POOL_SIZE belongs to as many threads.
worker_class = "gthread"
threads = int(os.environ.get("WEB_THREADS", "8"))
# Longer than any page may take (its statements are stopped before), shorter than a proxy's patience.
timeout = 60
graceful_timeout = 30
keepalive = 5
# A worker ends by itself after half a day, give or take an hour, for what memory it may have leaked. Not by a number of
# requests: under load that would throw away what it remembers of keys and plans every few seconds.
recycle_hours = 12
# Only a proxy on this machine is believed about addresses and TLS; behind another one, name it here.
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
control_socket_disable = True

accesslog = "-"
access_log_format = "%(m)s %(U)s %(s)s %(M)s ms %(b)s bytes from %(h)s, request %({x-request-id}o)s"
_folder = os.environ.get("LOG_DIR")
logconfig_dict = logs.configuration(
    level=os.environ.get("LOG_LEVEL", "INFO"),
    plain=False,
    folder=Path(_folder) if _folder else None,
    stream="ext://sys.stdout",
)
logconfig_dict["loggers"] |= {
    name: {"handlers": [], "level": "INFO", "propagate": True} for name in ("gunicorn.error", "gunicorn.access")
}


def post_worker_init(worker: Any) -> None:
    """Have the worker end as by its master's word, answering what it has begun; the master starts another."""
    after = (recycle_hours + random.uniform(-1, 1)) * 3600  # noqa: S311 - so that not all end at once
    timer = threading.Timer(after, os.kill, (worker.pid, signal.SIGTERM))
    timer.daemon = True
    timer.start()
