"""Owners are told of keys that end, once an occasion, and unused keys are revoked a month after."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_q.models import OrmQ

from billing import tasks
from billing.models import ApiKey
from tests.support import factories
from tests.support.sql import ago, run

pytestmark = pytest.mark.django_db


def notices(*arguments: str) -> list[tuple[str, str, str]]:
    out = StringIO()
    call_command("key_notices", "--json", *arguments, stdout=out)
    return [(row["key_prefix"], row["done"], row["occasion"]) for row in json.loads(out.getvalue())["keys"]]


def key(prefix: str, **values: Any) -> ApiKey:
    return factories.api_key(key_prefix=prefix, **values)


def in_days(days: float) -> Any:
    return timezone.now() + timedelta(days=days)


def test_owner_is_told_once_a_threshold() -> None:
    row = key("glyph_sk_dev_soon", expires_at=in_days(6))
    key("glyph_sk_dev_late", expires_at=in_days(40))
    key("glyph_sk_dev_gone", expires_at=in_days(-1))
    key("glyph_sk_dev_dead", expires_at=in_days(6), revoked_at=ago("1 day"))
    expected = [("glyph_sk_dev_soon", "told", "expires within 7 days")]
    assert notices() == expected
    assert not OrmQ.objects.exists()
    assert notices("--apply") == expected
    assert notices("--apply") == notices() == []
    run("UPDATE api_keys SET expires_at = now() + interval '20 hours' WHERE id = %s", row.pk)
    assert notices("--apply") == [("glyph_sk_dev_soon", "told", "expires within a day")]
    for queued in OrmQ.objects.order_by("pk"):
        tasks.send_key_notice(*queued.task["args"])
    assert [message.subject for message in mail.outbox] == [
        "Your API key glyph_sk_dev_soon… expires within 7 days",
        "Your API key glyph_sk_dev_soon… expires within a day",
    ]
    assert mail.outbox[0].to == [row.user.email]


def test_unused_key_is_revoked_a_month_after_its_owner_was_told() -> None:
    row = key("glyph_sk_dev_idle", created_at=ago("300 days"))
    key("glyph_sk_dev_new")
    assert notices() == []
    (told,) = notices("--idle-days", "180", "--apply")
    assert told[:2] == ("glyph_sk_dev_idle", "told")
    assert notices("--idle-days", "180", "--apply") == []
    run("SET LOCAL session_replication_role = replica")
    run("UPDATE audit_log SET occurred_at = occurred_at - interval '31 days' WHERE action = 'key_notice'")
    run("SET LOCAL session_replication_role = origin")
    assert notices("--idle-days", "180") == [(told[0], "revoked", told[2])]
    row.refresh_from_db()
    assert row.revoked_at is None
    assert notices("--idle-days", "180", "--apply") == [(told[0], "revoked", told[2])]
    row.refresh_from_db()
    assert row.revoked_reason == f"Unused keys are revoked: it {told[2]}"
    assert notices("--idle-days", "180", "--apply") == []


def test_key_that_is_used_again_stays() -> None:
    row = key("glyph_sk_dev_back", created_at=ago("300 days"))
    assert len(notices("--idle-days", "180", "--apply")) == 1
    run("SET LOCAL app.counting = 'on'")
    run("UPDATE api_keys SET last_used_at = now() WHERE id = %s", row.pk)
    assert notices("--idle-days", "180") == []


def test_too_few_days_are_refused() -> None:
    with pytest.raises(CommandError, match="30 days at the least, not 7"):
        notices("--idle-days", "7")
