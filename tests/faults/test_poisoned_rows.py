"""One row that cannot be done keeps no other one, and is named."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing import tasks
from billing.cognito import sync as pool_sync
from billing.cognito.pool import Identity, Page, Pool
from billing.models import User, WebhookEvent
from glyphforge.errors import LeftOut
from monitoring.jobs import runner
from tests.support import factories
from tests.support.event_stream import EventStream
from tests.support.extremes import noise
from tests.support.sql import ago, query, run, scalar

pytestmark = pytest.mark.django_db


def poison(table: str, condition: str, when: str = "INSERT OR UPDATE") -> None:
    """From now on the table refuses such a row, `new`, as a rule that somebody added by hand would."""
    row = "OLD" if when == "DELETE" else "NEW"
    run(
        f"CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF {condition} THEN RAISE EXCEPTION 'poisoned'; END IF; RETURN {row}; END $$"
    )
    run(f"CREATE TRIGGER zz_poison BEFORE {when} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_{table}()")


def left_out_by(job: str) -> str:
    result = runner.run(job, trigger="manual")
    assert result.outcome == "failed"
    assert result.run
    return str(result.run.error)


def test_customer_who_cannot_be_folded_keeps_no_other_and_is_counted_all_the_same() -> None:
    users = [factories.customer() for _ in range(5)]
    for user in users:
        factories.requests(user, 2)
    poison("monthly_usage_totals", f"NEW.user_id = '{users[1].pk}'")
    error = left_out_by("rollup")
    assert f"roll_up_usage: 1 left out: roll_up_usage: left out customer {users[1].pk}: poisoned" in error
    assert scalar("SELECT count(DISTINCT user_id) FROM monthly_usage_totals") == 4
    assert run("SELECT DISTINCT user_id FROM api_usage_deltas") == [(users[1].pk,)]
    assert scalar("SELECT sum(total_requests) FROM monthly_usage_summary") == 10
    run("DROP TRIGGER zz_poison ON monthly_usage_totals")
    assert scalar("SELECT roll_up_usage()") == 2


def test_maintenance_by_sql_says_what_it_left_out_and_keeps_the_rest() -> None:
    users = [factories.customer() for _ in range(25)]
    for user in users:
        factories.requests(user, 2)
    poison("monthly_usage_totals", f"NEW.user_id <> '{users[1].pk}'")
    tasks = {row["task"]: row for row in query("SELECT * FROM run_daily_maintenance()")}
    folded = tasks.pop("roll_up_usage")
    assert (folded["status"], folded["rows_affected"]) == ("failed", 2)
    assert folded["error"].startswith("more than 20 left out: roll_up_usage: left out customer ")
    assert folded["error"].count("poisoned") == 20
    assert {task["status"] for task in tasks.values()} == {"succeeded"}
    assert run("SELECT user_id FROM monthly_usage_totals") == [(users[1].pk,)]
    run("DROP TRIGGER zz_poison ON monthly_usage_totals")
    assert {row["status"] for row in query("SELECT * FROM run_daily_maintenance()")} == {"succeeded"}


def test_request_that_cannot_be_folded_keeps_no_other() -> None:
    factories.forget_older_requests()
    user = factories.customer().pk
    factories.requests(user, 20)
    factories.requests(user, 1, endpoint="/poison")
    factories.requests(user, 20)
    poison("traffic_latency_hours", "NEW.endpoint = '/poison'")
    assert re.search(r"fold_traffic: 1 left out: fold_traffic: left out request \d+: poisoned", left_out_by("rollup"))
    assert scalar("SELECT sum(requests) FROM traffic_days") == 40
    assert scalar("SELECT fold_traffic()") == 0


def test_job_run_names_what_was_left_out_on_its_page(signed_in: Any) -> None:
    user = factories.customer()
    factories.requests(user, 1)
    poison("monthly_usage_totals", "true")
    failed = runner.run("rollup", trigger="manual").run
    assert failed
    client: Client = signed_in("operator")
    page = client.get(reverse("admin:monitoring_jobrun_change", args=[failed.pk])).content.decode()
    assert f"left out customer {user.pk}" in page


def test_subscription_that_cannot_be_synced_keeps_no_other() -> None:
    good, bad = factories.subscription(), factories.subscription()
    for each in (good, bad):
        factories.requests(each.user_id, 3)
    poison("subscriptions", f"NEW.id = '{bad.pk}'", "UPDATE")
    assert f"left out subscription {bad.pk}: poisoned" in left_out_by("sync")
    counts = dict(run("SELECT id, usage_count FROM subscriptions WHERE id = ANY(%s)", [good.pk, bad.pk]))
    assert counts == {good.pk: 3, bad.pk: 0}


def test_orphan_who_cannot_be_fixed_keeps_no_other() -> None:
    good, bad = (factories.customer(stripe_customer_id=f"cus_{name}") for name in ("good", "bad"))
    run("UPDATE subscriptions SET status = 'canceled'")
    poison("subscriptions", f"NEW.user_id = '{bad.pk}'", "INSERT")
    assert f"left out user {bad.pk}: poisoned" in left_out_by("orphans")
    assert run("SELECT user_id FROM live_subscriptions") == [(good.pk,)]


@pytest.mark.parametrize(
    ("table", "function"),
    [
        ("stripe_webhook_events", "cleanup_webhook_events"),
        ("api_usage_request_ids", "cleanup_api_usage_request_ids"),
        ("rate_limits", "cleanup_rate_limits"),
        ("authentication_failures", "cleanup_authentication_failures"),
        ("alerts", "cleanup_alerts"),
    ],
)
def test_row_that_cannot_be_deleted_keeps_no_other(table: str, function: str) -> None:
    old = ago("500 days")
    for number in range(3):
        factories.webhook_event(status="processed", processed_at=old)
        factories.alert(state="resolved", fired_at=old, resolved_at=old)
        run("INSERT INTO api_usage_request_ids VALUES (gen_random_uuid(), 'r', now() - interval '500 days')")
        run(
            "INSERT INTO rate_limits (api_key_id, window_start, window_seconds, expires_at)"
            " VALUES (gen_random_uuid(), now() - interval '2 days', 60, now() - interval '1 day')"
        )
        run(
            "INSERT INTO authentication_failures (kind, source, window_start)"
            " VALUES ('api_key', %s, now() - interval '99 days')",
            str(number),
        )
    poison(table, f"OLD.ctid = (SELECT min(ctid) FROM {table})", "DELETE")
    assert scalar(f"SELECT {function}()") == 2
    assert scalar(f"SELECT count(*) FROM {table}") == 1


def test_event_that_cannot_be_changed_keeps_no_other_from_the_queue() -> None:
    events = [factories.webhook_event(status="pending", received_at=ago("1 hour")) for _ in range(3)]
    poison("stripe_webhook_events", f"NEW.stripe_event_id = '{events[1].stripe_event_id}'")
    with pytest.raises(LeftOut, match=f"1 left out: {events[1].stripe_event_id}: poisoned") as left:
        tasks.requeue_due()
    assert left.value.done == 2
    assert f"1 left out: {events[1].stripe_event_id}" in left_out_by("webhooks")
    assert WebhookEvent.objects.filter(next_retry_at=None).get() == events[1]


def test_requests_of_the_default_partition_that_cannot_be_deleted_keep_no_other_and_no_partition() -> None:
    user = factories.customer()
    for year in (2001, 2002, 2003):
        factories.requests(user, 1, created_at=f"{year}-05-01T00:00:00+00:00")
    run("CREATE TABLE api_usage_2000_01 PARTITION OF api_usage FOR VALUES FROM ('2000-01-01Z') TO ('2000-02-01Z')")
    poison("api_usage_default", "OLD.created_at < '2002-01-01'", "DELETE")
    assert scalar("SELECT cleanup_old_api_usage()") == 1
    assert run("SELECT extract(year FROM created_at)::int FROM api_usage_default") == [(2001,)]


@pytest.mark.parametrize(
    ("table", "condition"),
    [
        ("traffic_hours", "hour < now() - interval '2 days'"),
        ("traffic_latency_hours", "hour < now() - interval '15 days'"),
        ("traffic_user_days", "day < now() - interval '95 days'"),
    ],
)
def test_old_figure_that_cannot_be_deleted_does_not_stop_the_fold(table: str, condition: str) -> None:
    user = factories.customer()
    factories.requests(user, 2, created_at=ago("200 days"))
    scalar("SELECT fold_traffic()")
    run(f"CREATE TABLE stuck AS SELECT * FROM {table} WHERE {condition}")
    run(f"INSERT INTO {table} SELECT * FROM stuck ON CONFLICT DO NOTHING")
    poison(table, "true", "DELETE")
    factories.requests(user, 3)
    assert scalar("SELECT fold_traffic()") == 3


def test_alert_that_cannot_be_written_keeps_no_other_and_no_message(settings: Any) -> None:
    settings.SLACK_WEBHOOK_URL = "http://127.0.0.1:9/x"
    for name in ("evt_good", "evt_bad"):
        factories.webhook_event(stripe_event_id=name, status="dead", attempts=8, last_error=f"cause of {name[4:]}")
    poison("alerts", "NEW.subject LIKE '%evt_bad%'")
    error = left_out_by("alerts")
    assert "1 left out: " in error
    assert "evt_bad: poisoned" in error
    told = run("SELECT a.object_id, n.kind FROM notifications AS n JOIN alerts AS a ON a.id = n.alert_id")
    assert ("evt_good", "opened") in told
    run("DROP TRIGGER zz_poison ON alerts")
    assert runner.run("alerts", trigger="manual").outcome == "succeeded"
    assert scalar("SELECT count(*) FROM alerts WHERE object_id = 'evt_bad'") == 1


@pytest.fixture
def pool(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[Identity]:
    identities: list[Identity] = []

    def pages(self: Pool, token: str | None = None) -> Iterator[Page]:
        yield Page(identities, None)

    settings.COGNITO_USER_POOL_ID = "us-east-1_pool"
    monkeypatch.setattr(Pool, "__init__", lambda self, pool_id: setattr(self, "pool_id", pool_id))
    monkeypatch.setattr(Pool, "pages", pages)
    monkeypatch.setattr(Pool, "_call", lambda self, operation, **arguments: {"Users": []})
    return identities


def identity(sub: str, **attributes: str) -> Identity:
    given = {"sub": sub, "email": f"{sub}@example.com", "email_verified": "true", "name": sub}
    return Identity.from_attributes(given | attributes)


def test_identity_that_cannot_be_stored_keeps_no_other(pool: list[Identity]) -> None:
    pool += [identity("ada"), identity("x" * 300, email="bad@example.com"), identity("eve")]
    assert "1 left out: bad@example.com: create was refused" in left_out_by("cognito")
    assert set(User.objects.values_list("name", flat=True)) == {"ada", "eve"}


def test_cognito_id_that_cannot_be_asked_for_suspends_nobody_and_stops_nothing(pool: list[Identity]) -> None:
    odd = factories.customer(cognito_user_id='" or sub = "x', email="odd@example.com")
    gone = factories.customer(cognito_user_id="gone")
    steps = {step.subject: step.action for step in pool_sync.sync_pool(Pool("p"), apply=True)}
    assert steps == {"odd@example.com": pool_sync.Action.ERROR, gone.email: pool_sync.Action.SUSPEND}
    odd.refresh_from_db()
    assert odd.status == "active"


def test_names_of_cognitos_longest_are_stored_and_found(pool: list[Identity]) -> None:
    name = noise(3000)
    pool += [identity("ada", name=name, email="no address")]
    assert runner.run("cognito", trigger="manual").outcome == "succeeded"
    user = User.objects.get()
    assert (user.name, user.email) == (name[:2048], None)


def test_long_endpoints_are_folded_cut_and_stay_apart() -> None:
    factories.forget_older_requests()
    key = factories.api_key()
    beginning = noise(600)
    for end in ("a", "b"):
        factories.requests(key.user_id, 3, endpoint=beginning[:400] + end, status_code=500)
    run("SELECT record_api_usage(%s, %s, 'GET', 200, 1, request_id => %s)", key.pk, beginning * 9, beginning)
    assert scalar("SELECT record_api_usage(%s, '/', 'GET', 200, 1, request_id => %s)", key.pk, beginning) is False
    raw = query("SELECT endpoint, requests FROM v_slow_endpoints ORDER BY 1")
    assert runner.run("rollup", trigger="manual").outcome == "succeeded"
    assert query("SELECT endpoint, requests FROM v_slow_endpoints ORDER BY 1") == raw
    assert sorted(row["requests"] for row in raw) == [1, 3, 3]
    assert scalar("SELECT max(length(endpoint)) FROM traffic_latency_hours") == 234
    assert scalar("SELECT count(*) FROM v_repeated_failures") == 2


def test_characters_and_times_that_no_column_holds_stop_no_customer(world: Any) -> None:
    stream = EventStream(world).signed_up()
    stream.customer |= {"name": "a\0b\ud800" + "n" * 3000, "email": "e" * 600 + "@example.com"}
    assert stream.announce("customer.updated", stream.customer) == "processed"
    assert stream.user.name == ("a\ufffdb\ufffd" + "n" * 3000)[:2048]
    assert stream.user.email is None
    assert stream.update(trial_end=2**62) == "failed"
    assert stream.update(trial_end=None) == "processed"


def test_every_text_in_an_index_is_bounded_by_what_an_index_row_holds() -> None:
    """By its own table: a CHECK of its octets, or of the words that it may be."""
    loose = []
    for index in query(
        "SELECT i.relname AS name, c.relname AS table, array_agg(a.attname) AS columns,"
        " (SELECT string_agg(pg_get_constraintdef(k.oid), ' ') FROM pg_constraint AS k WHERE k.conrelid = c.oid)"
        " AS said"
        " FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS c ON c.oid = x.indrelid"
        " JOIN pg_am AS m ON m.oid = i.relam AND m.amname = 'btree'"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY (x.indkey) AND a.atttypid = 'text'::regtype"
        " WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition"
        " AND c.relname !~ '^(django|djstripe|auth|axes|account|socialaccount|mfa|traffic|daily)_'"
        " GROUP BY 1, 2, c.oid"
    ):
        octets = 0
        for column in index["columns"]:
            bounds = re.findall(rf"octet_length\(\"?{column}\"?\) <= (\d+)", index["said"])
            short = re.findall(rf"\(length\({column}\) <= (\d+)\)", index["said"])
            listed = re.search(rf"\(\"?{column}\"? (?:= ANY|~ '\^\[a-z\]\{{3}})", index["said"])
            octets += int(bounds[0]) if bounds else 4 * int(short[0]) if short else 63 if listed else 10_000
        if octets > 2600:
            loose.append((index["name"], octets))
    assert loose == []


def test_every_moment_that_anybody_writes_is_of_the_years_1970_to_2199() -> None:
    """Infinity and far years break calendars, series of days and Python."""
    loose = run(
        "SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN ('timestamptz'::regtype, 'date'::regtype)"
        " AND c.relname !~ '^(django|djstripe|auth|axes|account|socialaccount|mfa|usersessions|traffic|daily)_'"
        " AND c.relname <> 'monthly_usage_totals'"  # what the folds write
        " AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = c.oid AND a.attnum = ANY (k.conkey)"
        "  AND pg_get_constraintdef(k.oid) LIKE '%2200%')"
    )
    assert loose == []
