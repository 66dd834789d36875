"""`python -m benchmarks.webhooks`: measure, print, write var/benchmarks/webhooks.json; exit 1 when a promise is missed.

The promises, for 50 deliveries a second with the worker running: answered within 50 ms at the median and 250 ms at
p99. A backlog (--backlog 10000) drains through the worker as it runs in production, requeueing included: every other
event has lost its task. All of them are processed, the last quarter at the pace of the others, without growing memory.
"""

import argparse
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import timedelta
from itertools import islice
from pathlib import Path

import psutil
import psycopg
from rich.table import Table

from benchmarks.webhooks.load import RATE, Drain, Latencies, deliver, drain, fresh_events
from demo.stripe import recordings
from demo.stripe.server import StripeServer
from demo.stripe.world import StripeWorld
from glyphforge.embedded import server
from glyphforge.observability.terminal import print_table, progress, say
from tests.support.waiting import free_port

ROOT = Path(__file__).resolve().parents[2]
VAR = ROOT / "var"
MEDIAN_MS, P99_MS = 50, 250
GROWTH_MB = 60
PATHS = {"bare view": "/bare/", "endpoint": "/webhooks/stripe/"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8, help="length of one run (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each view (default %(default)s)")
    parser.add_argument("--backlog", type=int, default=400, help="events to drain (default %(default)s)")
    parser.add_argument("--json", type=Path, default=VAR / "benchmarks" / "webhooks.json", help="where the figures go")
    options = parser.parse_args()
    secret = f"whsec_{secrets.token_hex(16)}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped

    with ExitStack() as stack:
        stripe = stack.enter_context(StripeServer(StripeWorld([recordings.load("many_customers")])))
        postgres = server(VAR / "bench-postgres", options={"max_connections": "60", "max_wal_size": "4GB"})
        postgres.start()
        stack.callback(postgres.stop)
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'webhooks'").fetchone():
                connection.execute("CREATE DATABASE webhooks")
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "benchmarks.webhooks.settings",
            "DATABASE_URL": postgres.url("webhooks"),
            "DJANGO_DEBUG": "false",
            "STRIPE_API_HOST": stripe.url,
            "STRIPE_TEST_SECRET_KEY": f"sk_test_{secrets.token_hex(16)}",
            "STRIPE_WEBHOOK_SECRET": secret,
        }
        say("Migrating; the first time dj-stripe's tables take most of a minute …")
        subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, check=True)
        import django

        django.setup()
        port = free_port()
        # A sender that has nothing to send for two seconds must find its connection open.
        serve = [
            "-m",
            "gunicorn",
            "glyphforge.wsgi",
            "-b",
            f"127.0.0.1:{port}",
            "-w2",
            "--threads=8",
            "--keep-alive=75",
        ]
        stack.enter_context(_running(serve))
        _wait_for(port)
        with _running(["manage.py", "qcluster"]):
            time.sleep(3)
            latencies = _measure(port, secret, options.seconds, options.rounds)
        drained = _drain(options.backlog)
    return 0 if publish(latencies, drained, options.json) else 1


def _measure(port: int, secret: str, seconds: float, rounds: int) -> dict[str, Latencies]:
    """Interleaved, so that a slow minute of the machine hits both."""
    results = {name: Latencies() for name in PATHS}
    deliver(port, PATHS["endpoint"], secret, 1)  # the first requests load the code
    for _ in range(rounds):
        for name, path in PATHS.items():
            run = deliver(port, path, secret, seconds)
            results[name].milliseconds += run.milliseconds
            results[name].refused += run.refused
    return results


def _drain(backlog: int) -> Drain:
    from django.utils import timezone
    from django_q.models import OrmQ
    from django_q.tasks import async_task

    from billing.models import WebhookEvent
    from billing.stripe.events import inbox

    OrmQ.objects.all().delete()
    WebhookEvent.objects.all().delete()
    async_task("billing.tasks.requeue_due")  # what the job would do within the minute
    with progress("Storing the backlog", backlog) as advance:
        for number, event in enumerate(islice(fresh_events(), backlog)):
            inbox.store(event)
            if number % 2:
                OrmQ.objects.order_by("-pk")[:1].get().delete()
            advance(1)
    WebhookEvent.objects.update(received_at=timezone.now() - timedelta(minutes=10))
    with _running(["manage.py", "worker"]) as worker:
        return drain(psutil.Process(worker.pid), backlog)


def publish(latencies: dict[str, Latencies], drained: Drain, path: Path) -> bool:
    """Prints the tables, writes the JSON file and returns whether every promise was kept."""
    ours, bare = latencies["endpoint"], latencies["bare view"]
    table = Table("ms", title=f"{RATE} deliveries a second, worker running", title_justify="left")
    for name in latencies:
        table.add_column(name, justify="right")
    table.add_column("ratio", justify="right")
    for share in (0.5, 0.95, 0.99):
        a, b = bare.percentile(share), ours.percentile(share)
        table.add_row(f"p{share * 100:.0f}", f"{a:.1f}", f"{b:.1f}", f"{b / a:.2f}")
    print_table(sys.stdout, table)
    say(
        f"{drained.events} events drained in {drained.seconds:.0f} s; by quarters"
        f" {', '.join(f'{rate:.1f}' for rate in drained.rates)} a second and at most"
        f" {', '.join(f'{memory:.0f}' for memory in drained.memory_mb)} MB."
    )
    verdicts = {
        f"every delivery answered 200 ({ours.refused} were not)": ours.refused == 0,
        f"median {ours.percentile(0.5):.1f} ms, {MEDIAN_MS} promised": ours.percentile(0.5) <= MEDIAN_MS,
        f"p99 {ours.percentile(0.99):.1f} ms, {P99_MS} promised": ours.percentile(0.99) <= P99_MS,
        f"every event of the backlog is processed ({drained.not_processed} were not)": drained.not_processed == 0,
        "the backlog drains steadily": drained.is_steady,
        f"the worker's memory stays ({drained.growth_mb:+.0f} MB)": drained.growth_mb <= GROWTH_MB,
    }
    for text, kept in verdicts.items():
        say(f"{'kept  ' if kept else 'MISSED'} {text}")
    figures = {
        name: {f"p{share * 100:.0f}_ms": run.percentile(share) for share in (0.5, 0.95, 0.99)}
        for name, run in latencies.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = all(verdicts.values())
    path.write_text(json.dumps({"figures": figures, "drain": asdict(drained), "kept": kept}, indent=2) + "\n")
    say(f"Written to {path}")
    return kept


@contextmanager
def _running(arguments: list[str]) -> Iterator[subprocess.Popen]:
    """A process of this project, ended with what it started."""
    log = VAR / "benchmarks" / f"{Path(arguments[-1] if 'manage.py' in arguments else arguments[1]).stem}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=output)
        try:
            yield process
        finally:
            children = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
            for child in children:
                if child.is_running():
                    child.kill()


def _wait_for(port: int) -> None:
    for _ in range(150):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit("the web server did not start; see var/benchmarks/gunicorn.log")


if __name__ == "__main__":
    sys.exit(main())
