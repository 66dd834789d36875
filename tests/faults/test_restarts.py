"""A restarted pooler or server stops the web process for as long as it is away, and loses or doubles nothing."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from demo.stripe.deliver import Sender
from glyphforge import embedded
from glyphforge.rows import Json
from tests.support import topology
from tests.support.needs import needs
from tests.support.waiting import PATIENCE_SECONDS, is_listening, wait_for
from tests.support.web import Web, web_process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    needs(topology.PGBOUNCER, "pgbouncer"),
    needs(settings.TEST_SERVER, "the suite's own server, of which one is copied"),
]


@dataclass
class Site:
    """A web process that reaches its server through PgBouncer."""

    web: Web
    server: embedded.Server
    stripe: Sender
    start_pooler: Callable[[], "subprocess.Popen[bytes]"]

    def __post_init__(self) -> None:
        self.pooler = self.start_pooler()

    @contextmanager
    def pooler_away(self) -> Iterator[None]:
        """PgBouncer is killed, and started again after the block."""
        self.end()
        yield
        self.pooler = self.start_pooler()

    def end(self) -> None:
        self.pooler.kill()
        self.pooler.wait(timeout=PATIENCE_SECONDS)

    def database_answers(self) -> bool:
        """Whether the probe finds the database; the process itself answers in any case."""
        assert self.web.get("/healthz")[0] == 200
        found: bool = json.loads(self.web.get("/readyz")[2])["checks"]["database"] == "ok"
        return found

    def stored(self) -> list[tuple[str, int]]:
        with psycopg.connect(self.server.url(str(connection.settings_dict["NAME"]))) as other:
            return other.execute(
                "SELECT stripe_event_id, count(*) FROM stripe_webhook_events GROUP BY 1 ORDER BY 1"
            ).fetchall()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    # Of a short name, and where the server's account may read.
    folder = Path(tempfile.mkdtemp(prefix="glyphforge-pooler-"))
    with topology.copy_of(settings.TEST_SERVER) as server:
        running, port = topology.start_pgbouncer(server, folder)
        running.kill()
        running.wait(timeout=PATIENCE_SECONDS)

        def start_pooler() -> "subprocess.Popen[bytes]":
            process = topology.pgbouncer_at(server, folder, port)
            wait_for(lambda: is_listening(port))
            return process

        url = f"postgresql://postgres@127.0.0.1:{port}/{connection.settings_dict['NAME']}"
        with web_process(tmp_path, DATABASE_URL=url, STRIPE_WEBHOOK_SECRET="whsec_current") as web:
            sender = Sender(f"{web.origin}/webhooks/stripe/", "whsec_current", timeout=60)
            started = Site(web, server, sender, start_pooler)
            yield started
            started.end()
            sender.close()
    shutil.rmtree(folder)


def event(number: int) -> Json:
    return {
        "id": f"evt_restart{number}",
        "object": "event",
        "type": "customer.updated",
        "api_version": "2026-08-26.dahlia",
        "created": 1_790_000_000,
        "livemode": False,
        "data": {"object": {"id": "cus_restart", "object": "customer"}},
    }


def test_web_process_outlives_the_restart_of_pooler_and_server_and_stores_each_event_once(site: Site) -> None:
    assert site.stripe.post(event(1)) == 200
    with site.pooler_away():
        assert not site.database_answers()
        assert site.stripe.post(event(2)) >= 500  # Stripe sends it again
    wait_for(site.database_answers)
    site.server.stop()
    assert not site.database_answers()
    site.server.start()
    wait_for(site.database_answers)
    assert [site.stripe.post(event(number)) for number in (1, 2)] == [200, 200]
    assert site.stored() == [("evt_restart1", 1), ("evt_restart2", 1)]
