"""What `make run` runs: the port, the database, and whether demo data belongs into it."""

import errno
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from demo.seed import ACTION
from glyphforge.environment import LOOPBACK_HOSTS, Environment, persistent_secret

ROOT = Path(__file__).resolve().parents[2]
VAR = ROOT / "var"
DEFAULT_PORT = 8000
PORT_PATIENCE_SECONDS = 3.0


class UnusableError(Exception):
    """Something outside is in the way; the message is one line for a human."""


@dataclass(frozen=True)
class Configuration:
    """What was decided before Django read its settings."""

    port: int
    demo: bool
    embedded: bool
    own_stripe_port: int | None
    webhook_secret: str

    @property
    def url(self) -> str:
        """Where the web server answers: on this machine only."""
        return f"http://127.0.0.1:{self.port}"


def prepare() -> Configuration:
    """Read environment and `.env`, and complete the environment of all that will be started.

    Raises UnusableError. A wrong value of another variable stops the process when Django reads its settings.
    """
    env = Environment(ROOT / ".env")
    port = _port(env.text("PORT") or str(DEFAULT_PORT))
    embedded = not env.text("DATABASE_URL")
    config = env.database("DATABASE_URL")
    if env.text("DJANGO_DEBUG"):
        demo = env.flag("DJANGO_DEBUG", default=False)
    else:
        demo = config is None or _is_open_to_demo(config)
    os.environ["DJANGO_SETTINGS_MODULE"] = "glyphforge.settings"
    os.environ["DJANGO_DEBUG"] = "true" if demo else "false"
    if demo and not env.text("BACKOFFICE_URL"):
        os.environ["BACKOFFICE_URL"] = f"http://127.0.0.1:{port}"
    own_stripe_port = None
    if demo and not (env.text("STRIPE_TEST_SECRET_KEY") or env.text("STRIPE_LIVE_SECRET_KEY")):
        own_stripe_port = _free_port()
        os.environ["STRIPE_API_HOST"] = f"http://127.0.0.1:{own_stripe_port}"
        os.environ["STRIPE_TEST_SECRET_KEY"] = "sk_test_" + "demo" * 8
    if own_stripe_port and not env.text("STRIPE_WEBHOOK_SECRET"):
        kept = persistent_secret(VAR / "webhook_secret", "STRIPE_WEBHOOK_SECRET")
        os.environ["STRIPE_WEBHOOK_SECRET"] = f"whsec_{kept}"
    if demo and embedded and not env.text("BACKUP_DIR"):
        backups = VAR / "backups"
        backups.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ["BACKUP_DIR"] = str(backups)
    return Configuration(
        port=port,
        demo=demo,
        embedded=embedded,
        own_stripe_port=own_stripe_port,
        webhook_secret=os.environ.get("STRIPE_WEBHOOK_SECRET", "").split(",")[0].strip(),
    )


def _port(text: str) -> int:
    port = int(text) if text.isdecimal() else 0
    if not 1 <= port <= 65535:
        raise UnusableError(f"PORT: {text!r} is not a port; use a number from 1 to 65535")
    return port


def require_free_port(port: int) -> None:
    """Raise UnusableError when something else listens there; what a killed run left gets a moment to go."""
    deadline = time.monotonic() + PORT_PATIENCE_SECONDS
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if time.monotonic() > deadline or error.errno != errno.EADDRINUSE:
                    advice = f"stop what uses it or choose another: make run PORT={port % 65535 + 1}"
                    raise UnusableError(f"port {port}: {error.strerror}; {advice}") from error
            else:
                return
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _is_open_to_demo(config: dict[str, Any]) -> bool:
    """Whether synthetic customers can do no harm: a server on this machine, and no customer but a demo's in there."""
    host = str(config.get("HOST") or "localhost")
    if host not in LOOPBACK_HOSTS and not host.startswith("/"):
        return False
    parameters = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    given: dict[str, Any] = {name: config[key] for name, key in parameters.items() if config.get(key)}
    try:
        with psycopg.connect(**given, connect_timeout=10) as connection:
            known = connection.execute("SELECT to_regclass('public.users') IS NOT NULL").fetchone()
            if known != (True,):
                return True
            row = connection.execute(
                "SELECT NOT EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM audit_log WHERE action = %s)",
                [ACTION],
            ).fetchone()
    except psycopg.Error as error:
        raise UnusableError(f"DATABASE_URL: {' '.join(str(error).split())}") from error
    return row == (True,)
