"""Whatever anybody manages to store, every fold, job, view, page, report, backup and export goes on.

By SQL, through the API, from Stripe and from Cognito come values at and beyond the ends of what columns hold; then
everything that reads them runs once.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.cognito.pool import Identity, Page, Pool
from billing.models import ApiKey, User, WebhookEvent
from billing.stripe.events import processing
from demo.stripe.world import StripeWorld
from monitoring.jobs import runner
from monitoring.jobs.registry import JOBS
from monitoring.models import JobRun
from monitoring.reports.building import build_report
from monitoring.reports.rendering import render_html, render_slack, render_text
from tests.support import extremes, factories, processes
from tests.support.admin_pages import CONFIRMED, page_of
from tests.support.event_stream import EventStream
from tests.support.extreme_tables import TABLES
from tests.support.sql import query, run, scalar

CUSTOMERS = 450
JOB_SECONDS = 600
# Columns whose every value follows from other columns, or that take words of a list only.
BOUND = {
    *("status", "state", "kind", "origin", "phase", "environment", "currency", "interval", "severity", "channel"),
    *("ownership", "role", "tier", "user_id", "payment_id", "transaction_id", "job", "stripe_price_id", "check_name"),
    *("objects", "consequences"),
}
TEXT = st.one_of(
    st.sampled_from(extremes.TEXTS),
    st.text(max_size=50),
    st.text(st.characters(categories=["Cs", "Cc", "Lo", "So"]), min_size=1, max_size=50),
)
ALWAYS_THE_SAME = settings(
    max_examples=25, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def pool(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[Identity]:
    """The identities of a Cognito user pool that the test plays."""
    identities: list[Identity] = []
    settings.COGNITO_USER_POOL_ID = "us-east-1_pool"

    def pages(self: Pool, token: str | None = None) -> Iterator[Page]:
        yield Page(identities, None)

    monkeypatch.setattr(Pool, "__init__", lambda self, pool_id: setattr(self, "pool_id", pool_id))
    monkeypatch.setattr(Pool, "pages", pages)
    monkeypatch.setattr(Pool, "_call", lambda self, operation, **arguments: {"Users": []})
    return identities


def by_sql() -> None:
    run(extremes.TRY_INSERT)
    get_user_model().objects.create_user("ada")  # of whom there are sessions
    run(
        "INSERT INTO users (email, stripe_customer_id)"
        f" SELECT n || '@example.com', 'cus_' || n FROM generate_series(1, {CUSTOMERS}) AS n"
    )
    run("UPDATE subscriptions SET status = 'canceled'")
    taken = {table: extremes.store(table, usual) for table, usual in TABLES.items()}
    never = {
        f"{table}.{column}" for table, counts in taken.items() for column, count in counts.items()
        if not count and column not in BOUND
    }  # fmt: skip
    # Each possible one is a user's by then.
    assert never == {"stripe_customers.stripe_customer_id"}
    run(
        "UPDATE plans SET name = %s, rate_limit_per_minute = 2147483647, price_cents = 2147483647,"
        " monthly_request_limit = 9223372036854775807 WHERE tier <> 'free'",
        extremes.noise(200),
    )
    # Reconciliation asks Stripe for each customer that it does not list: a few are enough.
    run("DELETE FROM stripe_customers WHERE stripe_customer_id ~ '^cus_[0-9]+$'")
    # Twice the largest of what adds up.
    run("UPDATE subscriptions SET price_cents = 999999999999")
    run("UPDATE payment_history SET amount_cents = 999999999999, refunded_cents = 999999999999, paid_at = now()")
    for _ in range(3):
        run(
            "INSERT INTO api_usage_deltas SELECT id, NULL, now(), 4611686014132420609, date_trunc('month', now()),"
            " 2147483647, 2147483647, 2147483647 FROM users LIMIT 1"
        )


def by_the_api(key: ApiKey) -> None:
    client = Client(headers={"Authorization": f"Bearer {'t' * 40}"})
    number = st.sampled_from([-(2**63), -1, 0, 1, 200, 599, 2**31 - 1, 2**31, 2**63])
    row = st.fixed_dictionaries(
        {
            "api_key_id": st.just(str(key.pk)),
            "endpoint": TEXT,
            "method": st.one_of(st.just("GET"), TEXT),
            "status_code": st.one_of(st.just(500), number),
            "response_time_ms": st.one_of(st.just(2**31 - 1), number),
        },
        optional={
            "request_bytes": st.none() | number,
            "ip_address": st.none() | st.sampled_from(["::", "255.255.255.255", ""]),
            "error_message": TEXT.filter(bool),
            "request_id": st.none() | TEXT,
            "created_at": st.none() | st.sampled_from(extremes.MOMENTS),
        },
    )

    @ALWAYS_THE_SAME
    @given(rows=st.lists(row, min_size=1, max_size=3))
    def post(rows: list[dict[str, Any]]) -> None:
        body = json.dumps({"requests": rows})
        answer = client.post("/api/v1/usage", body, content_type="application/json")
        assert answer.status_code < 500, body

    post()


def by_stripe(stream: EventStream) -> None:
    number = st.sampled_from([0, 1, 2**31 - 1, 2**31, 999_999_999_999, 10**12, 2**63])
    moment = st.sampled_from([0, 1, 7_258_118_399, 7_258_118_400, 253_402_300_800, 2**62])

    @ALWAYS_THE_SAME
    @given(data=st.data())
    def change(data: st.DataObject) -> None:
        customer, subscription, charge = stream.customer, stream.subscription, stream.charge
        customer["name"], customer["email"] = data.draw(TEXT), data.draw(TEXT)
        customer["metadata"] = {"cognito_user_id": data.draw(TEXT)}
        item = stream.item
        item["quantity"], item["price"]["unit_amount"] = data.draw(number), data.draw(number)
        item["price"]["unit_amount_decimal"] = None
        item["current_period_start"] = 0
        item["current_period_end"], subscription["trial_end"] = data.draw(moment), data.draw(moment)
        charge["amount"] = charge["amount_captured"] = data.draw(number)
        charge["failure_message"], charge["receipt_url"] = data.draw(TEXT), data.draw(TEXT)
        for kind, found in (("customer", customer), ("customer.subscription", subscription), ("charge", charge)):
            assert stream.announce(f"{kind}.updated", found) in {"processed", "failed"}

    change()


def by_cognito(identities: list[Identity]) -> None:
    @ALWAYS_THE_SAME
    @given(attributes=st.fixed_dictionaries({"sub": st.uuids().map(str), "email": TEXT, "name": TEXT}))
    def sign_up(attributes: dict[str, str]) -> None:
        identities.append(Identity.from_attributes(attributes | {"email_verified": "true"}))

    sign_up()
    identities += [Identity(sub=text, email=f"{n}@pool.example", email_verified=True, name="n")
                   for n, text in enumerate(extremes.TEXTS)]  # fmt: skip


def succeed_or_name_what_is_left(name: str, client: Client) -> None:
    result = runner.run(name, trigger="manual")
    row = JobRun.objects.filter(job=name).latest("started_at")
    if result.outcome == "succeeded":
        return
    if name == "verify":  # rows of the audit log did come past what seals them, where anything is sealed by then
        assert "The audit log is not what was sealed" in str(row.error)
    else:
        assert " left out" in str(row.error), (name, row.error)
        assert b"left out" in client.get(page_of(JobRun, "change", row.pk)).content


def open_every_page(client: Client) -> None:
    for model in admin.site._registry:
        listing = page_of(model)
        answer = client.get(listing)
        assert answer.status_code == 200, listing
        for row in list(answer.context["cl"].result_list)[:1] if answer.context and "cl" in answer.context else ():
            page = page_of(model, "change", quote(row.pk))
            # What lasts as long as a session does may be gone by now.
            assert client.get(page).status_code == 200 or not model.objects.filter(pk=row.pk).exists(), page


def export_every_view(client: Client) -> None:
    for model in apps.get_app_config("monitoring").get_models():
        if not model._meta.managed:
            address = reverse(f"admin:monitoring_{model._meta.model_name}_export_all")
            has_rows = model.objects.exists()
            answer = client.post(address, CONFIRMED)
            assert answer.status_code == 200, (address, answer)
            # Of views of the moment, such as that of long statements, it may have changed meanwhile.
            if has_rows == model.objects.exists():
                assert answer["Content-Type"].startswith("text/csv" if has_rows else "text/html"), address


def test_extremes_in_every_column_stop_nothing(
    world: StripeWorld, pool: list[Identity], settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BACKUP_DIR = str(tmp_path)
    # On a busy machine too each job has all the time that it takes.
    monkeypatch.setattr("monitoring.alerts.evaluation.SECONDS", JOB_SECONDS)
    monkeypatch.setattr(
        "monitoring.jobs.runner.JOBS", {n: replace(j, timeout_seconds=JOB_SECONDS) for n, j in JOBS.items()}
    )
    settings.API_SERVICE_TOKENS = {"server": "t" * 40}
    key = factories.issued_key().key
    by_sql()
    by_the_api(key)
    by_stripe(EventStream(world).signed_up())
    by_cognito(pool)
    assert User.objects.filter(name__startswith=extremes.TEXTS[19][:50]).exists()
    for event_id in WebhookEvent.objects.filter(status="pending").values_list("stripe_event_id", flat=True):
        processing.process(event_id)

    # An id of its own, which nobody is asked for, keeps a request out of the fold.
    requests = scalar("SELECT count(*) FROM api_usage WHERE id BETWEEN 1 AND (SELECT last_value FROM api_usage_id_seq)")
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", "root@example.com", "x"))
    # Requests are folded before those of 1970 are past their retention.
    for name in ("rollup", *sorted(JOBS.keys() - {"drill", "rollup"})):
        succeed_or_name_what_is_left(name, client)
    drill = processes.finished("manage.py", "run_job", "drill", BACKUP_DIR=str(tmp_path))
    assert drill.returncode == 0, drill.stdout + drill.stderr
    assert scalar("SELECT count(*) FROM api_usage_deltas") == 0
    assert scalar("SELECT sum(requests) FROM traffic_days") == requests
    for (view,) in run("SELECT viewname FROM pg_views WHERE schemaname = 'public'"):
        query(f"SELECT * FROM {view}")
    for task in query("SELECT * FROM run_daily_maintenance()") + query("SELECT * FROM run_weekly_maintenance()"):
        assert task["status"] == "succeeded", task
    query("SELECT * FROM find_stale_subscriptions(), retry_failed_webhooks(8), rebuild_mrr_history(true)")
    report = build_report(date(2026, 5, 1))
    assert render_text(report)
    assert render_html(report)
    assert render_slack(report)
    open_every_page(client)
    export_every_view(client)
