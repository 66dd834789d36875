"""An export holds everything about one person, nothing about others and no secret, in constant memory."""

import io
import json
import stat
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from billing.models import User
from billing.services.privacy import export
from glyphforge.audit.models import AuditEntry
from glyphforge.errors import Refused
from tests.support import factories, personal
from tests.support.sql import run

pytestmark = pytest.mark.django_db


def exported(user: User) -> tuple[dict[str, list[Any]], str]:
    """The rows of each part, and all text of the ZIP."""
    file = io.BytesIO()
    export.write(user, file, actor="ada", reason="asked by letter")
    with zipfile.ZipFile(file) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    rows = {
        name.removesuffix(".ndjson"): [json.loads(line) for line in text.splitlines()]
        for name, text in texts.items()
        if name.endswith(".ndjson")
    }
    return rows, "\n".join(texts.values())


def test_everything_about_a_person_is_in_it() -> None:
    user = personal.planted()
    key = factories.issued_key(user)
    rows, text = exported(user)
    for planted in personal.PLANTED:
        assert planted in text or "%40" in planted
    for name in (
        *("customer", "stripe_customers", "subscriptions", "payments", "payment_movements", "api_keys", "usage"),
        *("usage_by_month", "notes", "stripe_events", "stripe_requests", "stripe_charges", "stripe_disputes"),
        *("changes", "reconciliation_differences"),
    ):
        assert rows[name], name
    assert rows["customer"][0]["cognito_user_id"] == "sub-1"
    assert len(rows["usage"]) == 3
    assert key.key.key_prefix in text
    assert "usage.ndjson" in text


def test_no_secret_and_nobody_else_is_in_it() -> None:
    user, other = personal.planted(), factories.customer(email="somebody.else@example.com")
    issued, others = factories.issued_key(user), factories.issued_key(other)
    factories.webhook_event(payload={"data": {"object": {"customer": "cus_zelda", "client_secret": "pi_1_secret_9"}}})
    factories.requests(other, 2)
    _, text = exported(user)
    for secret in (
        *(issued.raw_key, issued.key.key_hash, str(issued.key.key_fast_hash), "pi_1_secret_9"),
        *("somebody.else@example.com", others.key.key_prefix, str(other.pk)),
    ):
        assert secret not in text


def test_that_it_was_handed_out_is_in_the_audit_log() -> None:
    user = factories.customer()
    exported(user)
    entry = AuditEntry.objects.get(action="export_customer")
    assert (entry.actor, entry.row_id, entry.reason) == ("ada", str(user.pk), "asked by letter")
    with pytest.raises(Refused, match="A reason is needed"):
        export.write(user, io.BytesIO(), actor="ada", reason=" ")


def test_much_usage_takes_no_more_memory() -> None:
    user = factories.customer()
    factories.requests(user, 30_000, error_message="x" * 100)
    tracemalloc.start()
    export.write(user, io.BytesIO(), actor="ada", reason="asked by letter")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 << 20  # the rows alone are 12 MiB


def test_file_is_its_owners_alone_and_never_overwritten(tmp_path: Path) -> None:
    user, path = factories.customer(), tmp_path / "customer.zip"
    export.to_file(user, path, actor="ada", reason="asked by letter")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(Refused, match="File exists"):
        export.to_file(user, path, actor="ada", reason="asked by letter")
    other = tmp_path / "other.zip"
    with pytest.raises(Refused):
        export.to_file(user, other, actor="ada", reason="")
    assert not other.exists()


def test_tables_to_come_are_in_it(db: None) -> None:
    user = factories.customer()
    run("CREATE TABLE loyalty_points (user_id uuid, points int)")
    run("INSERT INTO loyalty_points VALUES (%s, 7)", user.pk)
    rows, _ = exported(user)
    assert rows["loyalty_points"] == [{"user_id": str(user.pk), "points": 7}]
