"""`python -m benchmarks.keys`: what checking an API key costs; exit 1 when a promise is missed.

The promises: a key checked before is at least 200 times cheaper than bcrypt, requests with 10,000 keys in turn have
0.8 of the rate of those with one, time does not tell a wrong prefix from a wrong secret, and a revocation is seen at
once in the same process and within five seconds from anywhere else.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from rich.table import Table

from benchmarks.small import run
from glyphforge.observability.terminal import print_table, say

if TYPE_CHECKING:
    from billing.keys.lifecycle import IssuedKey
    from billing.models import ApiKey, User

ROUNDS = 12  # bcrypt's cost, as in production
FASTER = 200
SECONDS_ELSEWHERE = 5.0
SPREAD = 0.1
KEYS, IN_TURN = 10_000, 0.8
TOKEN = "benchmark" * 4


def measure() -> dict[str, float]:
    """Medians in microseconds, and a delay in seconds."""
    from django.db import connection

    from billing.keys import authentication, lifecycle
    from billing.keys.cache import verified_keys
    from billing.models import ApiKey
    from tests.support.factories import customer, issued_key

    user = customer()
    keys = [issued_key(user) for _ in range(13)]
    raw_key = keys[0].raw_key
    figures = {
        "mistyped": _median(lambda: authentication.authenticate(raw_key[:-1] + "!"), 5000),
        **_wrong_keys(keys[-1].key),
        "first check": _first_checks(keys[1:6]),
    }
    ApiKey.objects.update(key_fast_hash=None)
    figures["first check of a key of before, by bcrypt"] = _first_checks(keys[6:-1])
    figures["requests with one key"], figures[f"requests with {KEYS:,} keys in turn"] = _requests(user)
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


def _first_checks(keys: "list[IssuedKey]") -> float:
    from billing.keys import authentication

    return statistics.median(_time(lambda key=key: authentication.authenticate(key.raw_key)) for key in keys)


def _requests(user: "User") -> tuple[float, float]:
    """Microseconds of a request to the API with one key and with many in turn, in turns of 500."""
    from django.conf import settings
    from django.test import Client

    from billing.keys import fast_hash
    from billing.keys import format as key_format
    from billing.models import ApiKey

    settings.API_SERVICE_TOKENS = {"benchmark": TOKEN}
    raw_keys = [key_format.generate("production") for _ in range(KEYS)]
    stored = "stands for a bcrypt hash, which is not computed here"
    ApiKey.objects.bulk_create(
        ApiKey(
            user=user,
            environment="production",
            key_prefix=key_format.key_prefix(raw_key),
            key_hash=stored,
            key_fast_hash=fast_hash.compute(raw_key, stored),
        )
        for raw_key in raw_keys
    )
    client = Client(headers={"Authorization": f"Bearer {TOKEN}"})

    def ask(raw_key: str) -> None:
        answer = client.post("/api/v1/keys/authenticate", {"key": raw_key}, content_type="application/json")
        assert answer.json()["outcome"] == "ok", answer.content

    ask(raw_keys[0])
    one, many = [], []
    for start in range(0, KEYS, 500):
        many += [_time(lambda raw_key=raw_key: ask(raw_key)) for raw_key in raw_keys[start : start + 500]]
        one += [_time(lambda: ask(raw_keys[0])) for _ in range(500)]
    return statistics.mean(one), statistics.mean(many)


def publish(figures: dict[str, float], path: Path) -> bool:
    """Prints the table, writes the JSON file and returns whether every promise was kept."""
    hashed, remembered = figures["first check of a key of before, by bcrypt"], figures["checked before"]
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
    in_turn = figures["requests with one key"] / figures[f"requests with {KEYS:,} keys in turn"]
    verdicts = {
        f"{KEYS:,} keys in turn: {in_turn:.2f} of the rate with one, {IN_TURN} promised": in_turn >= IN_TURN,
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
    sys.exit(run("keys", __doc__, measure, publish, API_KEY_BCRYPT_ROUNDS=ROUNDS))
