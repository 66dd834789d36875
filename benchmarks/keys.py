"""`python -m benchmarks.keys`: what checking an API key costs; exit 1 when a promise is missed.

The promises: a key checked before is at least 200 times cheaper than bcrypt, time does not tell a wrong prefix from a
wrong secret, and a revocation is seen at once in the same process and within five seconds from anywhere else.
"""

import argparse
import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import django
import psycopg
from rich.table import Table

from glyphforge.observability.terminal import print_table, say

if TYPE_CHECKING:
    from billing.models import ApiKey

ROUNDS = 12  # bcrypt's cost, as in production
FASTER = 200
SECONDS_ELSEWHERE = 5.0
SPREAD = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1] / "var" / "benchmarks" / "keys.json"
    parser.add_argument("--json", type=Path, default=default, help="where the figures go")
    options = parser.parse_args()

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    logging.disable(logging.WARNING)
    from django.conf import settings

    from tests.support import database

    settings.API_KEY_BCRYPT_ROUNDS = ROUNDS
    name = database.create_for("keys_benchmark")
    try:
        figures = measure()
    finally:
        database.drop(name)
        if settings.TEST_SERVER:
            settings.TEST_SERVER.stop()
    return 0 if publish(figures, options.json) else 1


def measure() -> dict[str, float]:
    """Medians in microseconds, and a delay in seconds."""
    from django.db import connection

    from billing.keys import authentication, lifecycle
    from billing.keys.cache import verified_keys
    from tests.support.factories import customer, issued_key

    user = customer()
    keys = [issued_key(user) for _ in range(13)]
    raw_key = keys[0].raw_key
    figures = {
        "mistyped": _median(lambda: authentication.authenticate(raw_key[:-1] + "!"), 5000),
        **_wrong_keys(keys[-1].key),
        "first check": statistics.median(
            _time(lambda key=key: authentication.authenticate(key.raw_key)) for key in keys[1:-1]
        ),
    }
    authentication.authenticate(raw_key)
    figures["checked before"] = _median(lambda: authentication.authenticate(raw_key), 20_000)
    entry = verified_keys.find(verified_keys.digest(raw_key))
    assert entry is not None

    def row_read_again() -> None:
        entry.row_until = 0.0
        authentication.authenticate(raw_key)

    figures["checked before, row read again"] = _median(row_read_again, 500)

    assert authentication.authenticate(raw_key).outcome == "ok"
    lifecycle.revoke(keys[0].key, actor="benchmark", reason="measured")
    assert authentication.authenticate(raw_key).outcome == "revoked", "a revocation is seen at once in the same process"

    assert authentication.authenticate(keys[1].raw_key).outcome == "ok"
    parameters = connection.get_connection_params()
    with psycopg.connect(
        **{name: parameters[name] for name in ("dbname", "host", "port", "user", "password") if parameters.get(name)}
    ) as elsewhere:
        elsewhere.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %s", [keys[1].key.pk])
    started = time.perf_counter()
    while authentication.authenticate(keys[1].raw_key).outcome == "ok":
        time.sleep(0.01)
    figures["revoked elsewhere, seconds"] = time.perf_counter() - started
    return figures


def _wrong_keys(stored: "ApiKey") -> dict[str, float]:
    """Well-formed keys that nobody was given, without and with the prefix of a stored one, in turns."""
    from billing.keys import authentication
    from billing.keys import format as key_format

    timings: dict[str, list[float]] = {"wrong prefix": [], "wrong secret": []}
    for _ in range(10):
        for kind, measured in timings.items():
            tried = key_format.generate("production")
            if kind == "wrong secret":
                stored.key_prefix = key_format.prefix_of(tried)
                stored.save(update_fields=["key_prefix"])
            measured.append(_time(lambda tried=tried: authentication.authenticate(tried)))
    return {kind: statistics.median(measured) for kind, measured in timings.items()}


def publish(figures: dict[str, float], path: Path) -> bool:
    """Prints the table, writes the JSON file and returns whether every promise was kept."""
    hashed, remembered = figures["first check"], figures["checked before"]
    table = Table("check of a key", title="API keys", title_justify="left")
    table.add_column("µs", justify="right")
    table.add_column("times faster than bcrypt", justify="right")
    for name, figure in figures.items():
        if "seconds" not in name:
            table.add_row(name, f"{figure:,.1f}", f"{hashed / figure:,.0f}")
    print_table(sys.stdout, table)
    prefix, secret = figures["wrong prefix"], figures["wrong secret"]
    spread = abs(prefix - secret) / max(prefix, secret)
    faster, elsewhere = hashed / remembered, figures["revoked elsewhere, seconds"]
    verdicts = {
        f"checked before: {faster:,.0f} times faster than bcrypt, {FASTER} promised": faster >= FASTER,
        f"wrong prefix and wrong secret: {spread:.1%} apart, at most {SPREAD:.0%} promised": spread <= SPREAD,
        f"revoked elsewhere: seen after {elsewhere:.1f} s, {SECONDS_ELSEWHERE:.0f} promised": elsewhere
        <= SECONDS_ELSEWHERE,
    }
    for text, kept in verdicts.items():
        say(f"{'kept  ' if kept else 'MISSED'} {text}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"figures": figures, "kept": all(verdicts.values())}, indent=2) + "\n")
    say(f"Written to {path}")
    return all(verdicts.values())


def _time(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1e6


def _median(action: Callable[[], object], times: int) -> float:
    return statistics.median(_time(action) for _ in range(times))


if __name__ == "__main__":
    sys.exit(main())
