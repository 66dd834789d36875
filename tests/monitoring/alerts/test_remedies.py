"""Each remedy is true: a reader who does what it says, as it stands there, heals what it is for."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django_q.tasks import async_task

from billing.models import OpenInvoice, PlanPrice, StripeRequest, Subscription, UnmatchedCustomer, User
from glyphforge.database.clock import database_time
from monitoring.jobs import runner
from monitoring.models import DatabaseSession, FailedWebhookEvent, JobSchedule, SchemaDifference
from tests.support import broken_machines, factories, processes
from tests.support.database import sleeping
from tests.support.event_stream import EventStream, deliver_new
from tests.support.faults import FAULTS, a_day_later
from tests.support.remedies import (
    ONE_ROW,
    Case,
    Named,
    Reader,
    Scene,
    actions,
    heal,
    remedy,
    status,
    work_off_the_queue,
)
from tests.support.sql import ago, insert, query, scalar
from tests.support.stripe_acts import unpaid
from tests.support.waiting import wait_for

pytestmark = pytest.mark.django_db


def fault(check: str, number: int = 0, **named: Any) -> Callable[[Scene], Named]:
    """The fault of that check and number among those that the checks are tested with."""

    def inject(scene: Scene) -> Named:
        _, broken = [each for each in FAULTS if each.check == check][number].inject()
        return {"NAME": broken, **{f'"{name}"': value for name, value in named.items()}}

    return inject


def strictly(check: str, warning: float = 0) -> None:
    query("UPDATE health_checks SET warning_at = %s, critical_at = NULL WHERE check_name = %s", warning, check)


def _stale(scene: Scene) -> Named:
    row = EventStream(scene.world).signed_up().row
    stripe = scene.world.objects[row.stripe_subscription_id]
    for item in (stripe, *stripe["items"]["data"]):
        item["current_period_end"] = scalar("SELECT extract(EPOCH FROM now() + interval '9 days')::bigint")
    Subscription.objects.filter(pk=row.pk).update(current_period_end=ago("4 days"))
    return {'"Sync from Stripe"': (row.user, ONE_ROW)}


def _duplicate(scene: Scene) -> Named:
    row = EventStream(scene.world).signed_up().row
    Subscription.objects.filter(pk=row.pk).update(is_duplicate=True)
    return {'"Cancel subscription"': (row, {"when": "now"})}


def _unclaimed(scene: Scene) -> Named:
    stream = EventStream(scene.world).signed_up()
    stream.item["price"].update(metadata={}, lookup_key=None)
    stream.update()
    return {'"Map price"': (PlanPrice, {"stripe_price_id": stream.item["price"]["id"], "tier": "starter"})}


def _unmatched(scene: Scene) -> Named:
    stream = EventStream(scene.world)
    row = UnmatchedCustomer.objects.create(stripe_customer_id=stream.customer["id"], email="a@example.com", reason="no")
    owner = factories.customer()
    return {'"Link to a customer"': (row, {"email": owner.email}), '"Create a customer"': (row, ONE_ROW)}


def _overdue(scene: Scene) -> Named:
    stream = EventStream(scene.world).signed_up()
    unpaid(stream)
    row = OpenInvoice.objects.get()
    tomorrow = {"until": str(scalar("SELECT (now() AT TIME ZONE 'UTC')::date + 1"))}
    return {
        '"Try now"': (row, ONE_ROW),
        '"Send payment link"': (row, ONE_ROW),
        '"Give until"': (row, tomorrow),
    }


def _the_customer_pays(scene: Scene) -> None:
    scene.world.settle_invoice(OpenInvoice.objects.get().stripe_invoice_id, "pay", {})
    deliver_new(scene.world)


def _unsettled(scene: Scene) -> Named:
    named = fault("unsettled_stripe_requests")(scene)
    return {**named, '"Look at Stripe"': (StripeRequest.objects.get(), ONE_ROW)}


def _unmapped_price(scene: Scene) -> Named:
    stream = EventStream(scene.world)
    price_id = stream.item["price"]["id"]
    for price in (stream.world.objects[price_id], stream.item["price"]):
        price.update(metadata={}, lookup_key=None)
    stream.signed_up()
    return {'"Map price"': (PlanPrice, {"stripe_price_id": price_id, "tier": "starter"})}


def _without_key(scene: Scene) -> Named:
    strictly("paid_users_without_keys")
    user = User.objects.get(pk=factories.subscription().user_id)
    return {'"Create key"': (user, {"environment": "production"})}


def _near_limit(scene: Scene) -> Named:
    named = fault("users_near_limit")(scene)
    user = User.objects.get(pk=scalar("SELECT user_id FROM v_users_near_limit"))
    until = database_time() + timedelta(days=3)
    terms = {"extra_requests": "5000", "until_0": f"{until:%Y-%m-%d}", "until_1": "12:00:00"}
    return {**named, '"Grant extra quota"': (user, terms)}


def _failing_requests(scene: Scene) -> Named:
    key = factories.api_key()
    factories.requests(key.user_id, 51, status_code=500)
    return {'"Revoke"': (key, ONE_ROW)}


def _queued_usage(scene: Scene) -> Named:
    strictly("unfolded_usage", 5)
    user = factories.customer()
    for _ in range(6):
        factories.requests(user)
    return {}


def _unfolded_traffic(scene: Scene) -> Named:
    strictly("unfolded_traffic", 5)
    factories.requests(factories.customer(), 6)
    return {}


def _session(pid: int) -> DatabaseSession:
    query("SELECT pg_stat_clear_snapshot()")
    return DatabaseSession.objects.get(pid=pid)


def _failing_job(scene: Scene) -> Named:
    factories.job_schedule()
    for hours in (3, 2, 1):
        moment = ago(f"{hours} hours")
        insert("job_runs", job="partitions", status="failed", started_at=moment, finished_at=moment)
    return {"NAME": "partitions"}


def _many_sessions(scene: Scene) -> Named:
    """One session more than is good."""
    other = scene.connected(autocommit=True)
    query("SELECT pg_stat_clear_snapshot()")
    used = scalar("SELECT value FROM v_system_health WHERE check_name = 'connections'")
    strictly("connections", float(used) - 0.1)
    return {'"End session"': (_session(other.info.backend_pid), ONE_ROW)}


def _blocking(scene: Scene) -> Named:
    strictly("blocked_sessions")
    holder, waiting = scene.connected(), scene.connected()
    holder.execute("SELECT pg_advisory_xact_lock(42)")
    waiting.pgconn.send_query(b"SELECT pg_advisory_xact_lock(42)")
    wait_for(lambda: status("blocked_sessions") == "warning")
    pid = holder.info.backend_pid
    return {"pid": pid, '"End session"': (_session(pid), ONE_ROW)}


def _idle(scene: Scene) -> Named:
    strictly("idle_in_transaction")
    idle = scene.connected()
    idle.execute("SELECT 1")
    wait_for(lambda: status("idle_in_transaction") == "warning")
    return {'"End session"': (_session(idle.info.backend_pid), ONE_ROW)}


def _long(scene: Scene) -> Named:
    strictly("long_running_queries")
    other = scene.sessions.enter_context(sleeping())
    wait_for(lambda: status("long_running_queries") == "warning")
    pid = other.info.backend_pid
    return {"pid": pid, '"Cancel query"': (_session(pid), ONE_ROW)}


def _narrow(scene: Scene) -> Named:
    query("CREATE SEQUENCE narrow_ids AS smallint")
    query("CREATE TABLE narrow (id smallint DEFAULT nextval('narrow_ids'))")
    query("SELECT setval('narrow_ids', 32000)")
    return {"t": "narrow", "c": "id", "s": "narrow_ids"}


def _differing(check: str, kind: str, number: int = 0) -> Callable[[Scene], Named]:
    """The fault, and the row of the comparison that tells of it."""

    def inject(scene: Scene) -> Named:
        named = fault(check, number)(scene)
        runner.run("verify", trigger="manual")
        row = SchemaDifference.objects.filter(kind=kind).first()
        return {**named, "i": "users_created_at", '"Repair"': (row, ONE_ROW)}

    return inject


def _backed_up(scene: Scene) -> Named:
    Reader(Client(), {}, {"BACKUP_DIR": str(scene.backups)}).do(BACKUP)
    return fault("restore_drill_age")(scene)


def _an_hour_later(scene: Scene) -> None:
    query("DELETE FROM api_usage")
    query("UPDATE authentication_failures SET window_start = window_start - interval '2 hours'")


def _on_the_next_plan(scene: Scene) -> None:
    query("UPDATE subscriptions SET monthly_request_limit = 10000")


BACKUP, DRILL = "manage.py database backup", "manage.py database drill"
FIX, RETRY = "manage.py fix_orphans --apply", "manage.py retry_webhooks --apply"
FAILED = {"Retry webhooks": (FailedWebhookEvent, ONE_ROW)}
JOB = "manage.py run_job NAME"


def _job(check: str) -> Callable[[Scene], Named]:
    def inject(scene: Scene) -> Named:
        named = fault(check)(scene)
        return {**named, '"Run now"': (JobSchedule.objects.get(job=named["NAME"]), ONE_ROW)}

    return inject


CASES = [
    *broken_machines.CASES,
    Case("stale_subscriptions", _stale, ('"Sync from Stripe"',)),
    Case("orphaned_stripe_customers", fault("orphaned_stripe_customers"), (FIX, "manage.py reconcile_stripe")),
    Case("orphaned_stripe_customers", fault("orphaned_stripe_customers", **{"Fix orphans": (User, ONE_ROW)}),
         ('"Fix orphans"',)),
    Case("duplicate_subscriptions", _duplicate, ('"Cancel subscription"',), lambda scene: deliver_new(scene.world)),
    Case("unclaimed_prices", _unclaimed, ('"Map price"',)),
    Case("unmatched_stripe_customers", _unmatched, ('"Link to a customer"',)),
    Case("unmatched_stripe_customers", _unmatched, ('"Create a customer"',)),
    Case("unsettled_stripe_requests", _unsettled, ('"Look at Stripe"',)),
    Case("revenue_at_risk", _overdue, ('"Try now"',), lambda scene: deliver_new(scene.world)),
    Case("revenue_at_risk", _overdue, ('"Send payment link"',), _the_customer_pays),
    Case("revenue_at_risk", _overdue, ('"Give until"',)),
    Case("paid_users_without_keys", _without_key, ('"Create key"',)),
    Case("users_near_limit", _near_limit, ('"Grant extra quota"',)),
    Case("users_near_limit", fault("users_near_limit"), (), _on_the_next_plan),
    Case("failed_webhooks", fault("failed_webhooks", **FAILED), ('"Retry webhooks"',)),
    Case("failed_webhooks", fault("failed_webhooks"), (RETRY,)),
    Case("dead_webhooks", fault("dead_webhooks", **FAILED), ('"Retry webhooks"',)),
    Case("dead_webhooks", fault("dead_webhooks"), (RETRY,)),
    Case("waiting_events", _unmapped_price, ('"Map price"',)),
    Case("webhook_delay", fault("webhook_delay"), ("manage.py run_job webhooks",)),
    Case("error_rate", _failing_requests, ('"Revoke"',), _an_hour_later),
    Case("partitions_ahead", fault("partitions_ahead"), ("manage.py run_job partitions",)),
    Case("default_partition_rows", fault("default_partition_rows"), ("manage.py run_job partitions",)),
    Case("unfolded_usage", _queued_usage, ("manage.py run_job rollup",)),
    Case("unfolded_traffic", _unfolded_traffic, ("manage.py run_job rollup",)),
    Case("overdue_jobs", fault("overdue_jobs"), (JOB,)),
    Case("overdue_jobs", _job("overdue_jobs"), ('"Run now"',), lambda _: work_off_the_queue()),
    Case("failed_jobs", fault("failed_jobs"), (JOB,)),
    Case("failed_jobs", _job("failed_jobs"), ('"Run now"',), lambda _: work_off_the_queue()),
    Case("failures_in_a_row", _failing_job, (JOB,)),
    Case("connections", _many_sessions, ('"End session"',)),
    Case("blocked_sessions", _blocking, ('"End session"',)),
    Case("blocked_sessions", _blocking, ("SELECT pg_terminate_backend(pid)",)),
    Case("idle_in_transaction", _idle, ('"End session"',)),
    Case("long_running_queries", _long, ('"Cancel query"',)),
    Case("long_running_queries", _long, ("SELECT pg_cancel_backend(pid)",)),
    Case("sequences", _narrow, ("ALTER TABLE t ALTER COLUMN c TYPE bigint", "ALTER SEQUENCE s AS bigint")),
    Case("invalid_indexes", _differing("invalid_indexes", "index"), ("REINDEX INDEX CONCURRENTLY i",)),
    Case("invalid_indexes", _differing("invalid_indexes", "index"), ("manage.py run_job verify", '"Repair"')),
    Case("disabled_triggers", _differing("disabled_triggers", "trigger"),
         ("manage.py run_job verify", '"Repair"', "manage.py run_job sync")),
    Case("disabled_triggers", fault("disabled_triggers", 1), ("manage.py database verify --sql",)),
    Case("authentication_failures", fault("authentication_failures"), (), _an_hour_later),
    Case("account_changes", fault("account_changes"), (), lambda _: a_day_later()),
    Case("drift", _differing("drift", "function"), ('"Repair"',)),
    Case("drift", _differing("drift", "function"), ("manage.py database verify --sql", "manage.py run_job verify")),
]  # fmt: skip
# With programs that read what is committed.
COMMITTED = [
    *broken_machines.COMMITTED,
    Case("backup_age", fault("backup_age"), (BACKUP,)),
    Case("restore_drill_age", _backed_up, (DRILL,)),
    Case("failed_backups", fault("failed_backups"), (BACKUP, DRILL)),
]

# What cannot be broken and healed by what its remedy says, here or at all.
NOT_BROKEN = {
    "wraparound": "takes two thousand million transactions",
    "replication_lag": "takes a replica that is slow; that the replica's pages say so is in tests/deploy",
    "dead_rows": "VACUUM runs in no transaction: see test_dead_rows_are_seen_until_removed",
    "worker_silence": "see test_started_worker",
    "queue_age": "see test_started_worker",
    "replica_away": "see tests/faults/test_replica_away.py",
    "clock_skew": "see tests/faults/test_clock_skew.py",
    "unwritable_folders": "see tests/faults/test_full_disks.py",
}
EVERY_CASE = (*CASES, *COMMITTED)
# Actions that are one of several ways, or a part of another check's case.
ELSEWHERE = {
    "webhook_delay": {"manage.py worker"},
    "unfolded_traffic": {'"End session"'},
}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("case", COMMITTED, ids=str)
def test_what_the_remedy_says_heals_what_is_committed(case: Case, scene: Scene, admin_client: Client) -> None:
    heal(case, scene, admin_client, {"BACKUP_DIR": str(scene.backups)})


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_remedy_says_heals(case: Case, scene: Scene, admin_client: Client) -> None:
    a_day_later()  # since the client's account was made
    heal(case, scene, admin_client)


def test_every_check_has_a_case() -> None:
    known = {row["check_name"] for row in query("SELECT check_name FROM health_checks")}
    assert known == {case.check for case in EVERY_CASE} | NOT_BROKEN.keys()


def test_every_action_that_a_remedy_names_is_done_by_a_case() -> None:
    undone = {}
    for check in {case.check for case in EVERY_CASE}:
        done = {action for case in EVERY_CASE if case.check == check for action in case.does}
        undone[check] = set(actions(remedy(check))) - done - ELSEWHERE.get(check, set())
    assert {check: left for check, left in undone.items() if left} == {}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_started_worker() -> None:
    """Of both checks that say so: the queue is read, and the worker gives a sign of life."""
    assert {"manage.py worker"} == {*actions(remedy("worker_silence")), *actions(remedy("queue_age"))}
    insert("worker_heartbeats", host="a", pid=1, cluster_pid=1, role="pusher", seen_at=ago("6 minutes"))
    async_task("monitoring.jobs.runner.run_now", "rollup", trigger="manual")
    query("UPDATE django_q_ormq SET lock = now() - interval '6 minutes'")
    assert (status("worker_silence"), status("queue_age")) == ("critical", "warning")
    with processes.worker():
        wait_for(lambda: (status("worker_silence"), status("queue_age")) == ("ok", "ok"))
