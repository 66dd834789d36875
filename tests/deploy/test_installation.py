"""The block of docs/install.md, walked from an empty cluster to a processed event and a restored backup."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings

from demo.stripe import recordings
from demo.stripe.deliver import signature
from demo.stripe.server import StripeServer, endpoint
from demo.stripe.world import StripeWorld
from glyphforge import embedded
from glyphforge.database import roles
from glyphforge.embedded import binaries
from tests.support import mail_server, slack
from tests.support.waiting import free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("manage.py", "glyphforge", "billing", "monitoring", "deploy")
WEBHOOK_SECRET = "whsec_of_the_endpoint_0123456789"
SUPERUSER = "the-superusers-password"

pytestmark = pytest.mark.slow

# Stand-ins for what only a machine's administrator may do; whoever owns a file here is who runs the test.
STAND_INS = {
    "useradd": "exit 0",
    "runuser": 'shift 2; exec "$@"',
    "install": 'for word; do case $word in --owner=*) ;; *) set -- "$@" "$word";; esac; shift; done; exec REAL "$@"',
    "systemctl": """
case "$*" in
enable*)
    .venv/bin/gunicorn --config deploy/gunicorn.conf.py >web.log 2>&1 &
    echo $! >>pids
    .venv/bin/python manage.py worker >worker.log 2>&1 &
    echo $! >>pids;;
esac""",
    "curl": """exec .venv/bin/python -c '
import sys, time, urllib.request
for _ in range(300):
    try:
        print(urllib.request.urlopen(sys.argv[-1], timeout=10).read().decode()); break
    except OSError as error:
        time.sleep(0.5)
else:
    sys.exit(str(error))
' "$@" """,
}


def block() -> str:
    """The first copyable block below the heading."""
    text = (ROOT / "docs" / "install.md").read_text().partition("## The first time")[2]
    return re.findall(r"```bash\n(.*?)```", text, re.DOTALL)[0]


def filled_in(text: str, **values: str) -> str:
    """The block with the values of its first paragraph, without what makes the virtual environment."""
    for name, value in values.items():
        given = re.search(rf"(?m)(?:^|export | ){name}=(\S+)", text)
        assert given, name
        text = f"{text[: given.start(1)]}{value}{text[given.end(1) :]}"
    assert "..." not in text, "a placeholder is left"
    text, made = re.subn(r"(?m)^(python3 -m venv|\.venv/bin/pip install) .*\n", "", text)
    assert made == 2
    return text


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an empty server of its own, which asks everybody for a password."""
    port = free_port()
    server = embedded.server(
        tmp_path_factory.mktemp("cluster"), options={"listen_addresses": "127.0.0.1", "port": str(port), "fsync": "off"}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glyphforge.embedded.cluster.PORT", port)
        server.start()
        address = server.url("postgres")
    rules = server.data / "pg_hba.conf"
    rules.write_text(re.sub(r"(?m)^(host .*)trust$", r"\1scram-sha-256", rules.read_text()))
    with psycopg.connect(address, autocommit=True) as superuser:
        superuser.execute("DROP DATABASE glyphforge")
        superuser.execute(f"ALTER ROLE postgres PASSWORD '{SUPERUSER}'")
        superuser.execute("SELECT pg_reload_conf()")
    yield port
    server.stop()


class Machine:
    """A machine with nothing but the product's files on it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.project = folder / "project"
        self.project.mkdir()
        for name in PRODUCT:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, self.project / name)
        (self.project / ".venv").symlink_to(sys.prefix)
        programs = folder / "bin"
        programs.mkdir()
        for name, lines in STAND_INS.items():
            (programs / name).write_text(f"#!/bin/sh\n{lines.replace('REAL', str(shutil.which(name)))}\n")
            (programs / name).chmod(0o755)
        self.port = free_port()
        (folder / "etc" / "systemd" / "system").mkdir(parents=True)
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        path = f"{programs}:{binaries.with_client('psql')[0].bindir}:{os.environ['PATH']}"
        self.environment = {**kept, "PATH": path, "WEB_BIND": f"127.0.0.1:{self.port}", **environment}

    def run(self, *command: str, **environment: str) -> str:
        """What the command printed; it has to succeed."""
        done = subprocess.run(
            command, cwd=self.project, env=self.environment | environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def manage(self, *words: str, **environment: str) -> str:
        return self.run(".venv/bin/python", "manage.py", *words, **environment)

    def post(self, event: dict[str, Any]) -> int:
        """Send the event to the endpoint as Stripe does; returns the status."""
        body = json.dumps(event)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(
            "POST", "/webhooks/stripe/", body.encode(), {"Stripe-Signature": signature(body, WEBHOOK_SECRET)}
        )
        return connection.getresponse().status

    def stop(self) -> None:
        """End web and worker, in order."""
        started = self.project / "pids"
        pids = [int(line) for line in started.read_text().split()] if started.exists() else []
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()])


@pytest.fixture
def stripe() -> Iterator[StripeServer]:
    """The account in live mode, with a customer who signed up."""
    with StripeServer(StripeWorld([recordings.load("signup_paid")])) as server:
        balance = {"object": "balance", "livemode": True}
        server.intercept = lambda method, path: (200, balance, {}) if path == "/v1/balance" else None
        yield server


def test_the_block_leads_from_an_empty_cluster_to_a_processed_event_and_a_restored_backup(
    cluster: int, stripe: StripeServer, tmp_path: Path
) -> None:
    machine = Machine(tmp_path, STRIPE_API_HOST=stripe.url)
    url = f"http://127.0.0.1:{machine.port}"
    stripe.world.put(endpoint(f"{url}/webhooks/stripe/", livemode=True))
    backups = tmp_path / "backups"
    with slack.serving() as channel, mail_server.serving() as mailbox:
        text = filled_in(
            block().replace("/etc/", f"{tmp_path}/etc/").replace("/var/lib/glyph-forge", str(tmp_path / "state")),
            PGHOST="127.0.0.1", PGPORT=str(cluster), PGUSER="postgres", PGPASSWORD=SUPERUSER, url=url, host="127.0.0.1",
            stripe_key="sk_live_" + "0" * 24, stripe_secret=WEBHOOK_SECRET, slack=channel.url,
            mail_to="oncall@example.com", mail_server=f"smtp://127.0.0.1:{settings.EMAIL_PORT}", backups=str(backups),
        )  # fmt: skip
        try:
            said = machine.run("bash", "-c", text)
            assert "critical  " not in said, said
            assert [len(channel.posts), len(mailbox.messages)] == [1, 1]
            (owner,) = re.findall(r"postgresql://glyphforge_owner:\S+", said)
            superuser = f"postgresql://postgres:{SUPERUSER}@127.0.0.1:{cluster}"
            with psycopg.connect(f"{superuser}/glyphforge", autocommit=True) as database:
                event = next(
                    each for each in recordings.load("signup_paid").events if each["type"] == "customer.created"
                )
                assert machine.post({**event, "livemode": True}) == 200
                state = "SELECT status FROM stripe_webhook_events WHERE status NOT IN ('pending', 'processing')"
                assert wait_for(lambda: database.execute(state).fetchall()) == [("processed",)]
                assert database.execute("SELECT count(*) FROM users").fetchone() == (1,)
                who = "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = 'glyphforge'"
                names = {name for (name,) in database.execute(f"{who} AND pid <> pg_backend_pid()").fetchall()}
                assert {roles.WEB, roles.WORKER} <= names <= {roles.WEB, roles.WORKER, roles.RETENTION, roles.BACKUP}

            machine.manage("database", "backup")
            (dump,) = backups.glob("*.dump")
            machine.manage("database", "drill")
            restored = machine.manage("database", "restore", str(dump), "--into", "glyphforge_restored")
            assert "The database is a copy" in restored
            with psycopg.connect(f"{superuser}/glyphforge_restored") as copy:
                assert copy.execute("SELECT is_production(), count(*) FROM users").fetchone() == (False, 1)
                owners = (
                    "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                )
                assert copy.execute(f"{owners} AND relkind IN ('r', 'p', 'v')").fetchall() == [(roles.OWNER,)]
            machine.manage("database", "init", DATABASE_URL=owner)
            told = json.loads(machine.manage("doctor", "--json"))
            assert {each["status"] for each in told["findings"]} <= {"ok", "warning"}
        finally:
            machine.stop()
    assert (machine.project / ".env").stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in (tmp_path / "etc" / "systemd" / "system").iterdir()) == [
        "glyph-forge-web.service",
        "glyph-forge-worker.service",
    ]
