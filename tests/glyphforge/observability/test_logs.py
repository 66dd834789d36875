"""Log lines are JSON, carry the ids that tie them together, and hold no secret."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from glyphforge.audit import acting_as
from glyphforge.audit.masking import mask, mask_values
from glyphforge.observability import error_reports, logs

SECRETS = {
    "Stripe key": "sk_live_51HabcdefGHIJKLmnop",
    "restricted key": "rk_test_51HabcdefGHIJKLmnop",
    "signing secret": "whsec_abc123def456",
    "API key": "glyph_sk_live_abcdEFGHijklMNOP",
    "bcrypt hash": "$2b$12$" + "a" * 53,
    "database URL": "postgresql://forge:hunter22@db.internal/forge",
    "Slack hook": "https://hooks.slack.com/services/T000/B000/XXXX",
    "bearer token": "Authorization: Bearer abcdefgh12345678",
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "AWS key": "AKIAABCDEFGHIJKLMNOP",
    "password": "password=hunter22 and more",
}
HIDDEN_PARTS = (
    "51Habcdef",
    "abc123def456",
    "EFGHijkl",
    "aaaa",
    "hunter22",
    "T000",
    "abcdefgh1234",
    "eyJzdWIi",
    "KLMNOP",
)


def written(record: logging.LogRecord) -> dict[str, object]:
    logs.Context().filter(record)
    line = logs.JsonLines().format(record)
    assert "\n" not in line
    parsed: dict[str, object] = json.loads(line)
    return parsed


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "test", "levelname": "INFO", "msg": message, "args": args})
    made.__dict__.update(extra)
    return made


@pytest.mark.parametrize("kind", list(SECRETS))
def test_secret_is_masked(kind: str) -> None:
    masked = mask(f"before {SECRETS[kind]} after")
    assert "[masked]" in masked
    assert not [part for part in HIDDEN_PARTS if part in masked]
    assert masked.startswith("before ")
    assert masked.endswith((" after", "and more after"))


@pytest.mark.parametrize(
    "harmless", ["token bucket of 60", "evt_1Abc", "cus_9xyz", "the password is wrong", "https://example.com/a?b=c"]
)
def test_what_is_no_secret_stays(harmless: str) -> None:
    assert mask(harmless) == harmless


def test_values_are_masked_by_their_name_too() -> None:
    assert mask_values({"a": [{"api_key": "x"}], "stripe_signature": "t=1", "name": "Ada"}) == {
        "a": [{"api_key": "[masked]"}],
        "stripe_signature": "[masked]",
        "name": "Ada",
    }


def test_line_carries_request_job_and_event_ids() -> None:
    with acting_as(request_id="r-1"), logs.log_context(job="daily", run="7"), logs.log_context(event="evt_1"):
        line = written(record("Stored %s", "evt_1"))
    assert {key: line[key] for key in ("message", "level", "logger", "request_id", "job", "run", "event")} == {
        "message": "Stored evt_1",
        "level": "INFO",
        "logger": "test",
        "request_id": "r-1",
        "job": "daily",
        "run": "7",
        "event": "evt_1",
    }
    assert "job" not in written(record("later"))


def test_secrets_in_messages_extras_and_tracebacks_are_masked() -> None:
    error = RuntimeError(SECRETS["database URL"])
    extra = {"payload": {"token": "abc", "n": 1}, "exc_info": (RuntimeError, error, None)}
    failed = record("Using %s", SECRETS["Stripe key"], **extra)
    line = json.dumps(written(failed))
    assert "RuntimeError" in line
    assert not [part for part in (*HIDDEN_PARTS, '"abc"') if part in line]


def test_folder_gets_the_same_lines_and_survives_rotation(tmp_path: Path) -> None:
    script = (
        "import logging.config, os, pathlib; from glyphforge.observability import logs;"
        "folder = pathlib.Path(os.environ['FOLDER']);"
        "logging.config.dictConfig("
        "logs.configuration(level='INFO', plain=False, folder=folder, stream='ext://sys.stdout'));"
        "log = logging.getLogger('rotation'); log.info('one');"
        "(folder / 'glyphforge.log').rename(folder / 'old.log'); log.info('two')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"FOLDER": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert [json.loads(line)["message"] for line in done.stdout.splitlines()] == ["one", "two"]
    assert json.loads((tmp_path / "old.log").read_text())["message"] == "one"
    assert json.loads((tmp_path / "glyphforge.log").read_text())["message"] == "two"


@pytest.mark.parametrize(
    ("argv", "stream"),
    [
        (["manage.py", "run_job", "daily", "--json"], "ext://sys.stderr"),
        (["manage.py", "qcluster"], "ext://sys.stdout"),
        (["/app/bin/gunicorn"], "ext://sys.stdout"),
    ],
)
def test_commands_keep_their_standard_output_to_themselves(argv: list[str], stream: str) -> None:
    assert logs.stream_for(argv) == stream


def test_error_report_leaves_without_secrets_and_with_the_request_id() -> None:
    event = {"message": SECRETS["database URL"], "request": {"headers": {"Authorization": "x", "Cookie": "y"}}}
    with acting_as(request_id="r-9"):
        sent = error_reports.scrubbed(event, {})
    assert sent == {
        "message": "postgresql://[masked]@db.internal/forge",
        "request": {"headers": {"Authorization": "[masked]", "Cookie": "[masked]"}},
        "tags": {"request_id": "r-9"},
    }


def test_error_report_leaves_without_what_was_asked_for() -> None:
    event = {"request": {"url": "https://b.test/admin/?q=ada@example.com", "query_string": "code=1&state=2"}}
    assert error_reports.scrubbed(event, {}) == {"request": {"url": "https://b.test/admin/"}}


def test_strangers_hosts_are_reported_to_nobody() -> None:
    assert error_reports.scrubbed({"logger": "django.security.DisallowedHost"}, {}) is None
