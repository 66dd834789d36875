"""Cases of remedies for what lies outside of the tables: settings, disks, roles, slots, locks, what others send."""

from collections import namedtuple
from collections.abc import Callable

from billing.models import Difference
from billing.services import reconciliation
from glyphforge.database import roles as sql_roles
from monitoring.alerts import measuring
from monitoring.jobs import controls, schedules
from monitoring.models import DatabaseSession, JobSchedule
from monitoring.notifications import dead_mans_switch
from tests.support import factories
from tests.support.event_stream import EventStream
from tests.support.remedies import ONE_ROW, Case, Named, Scene
from tests.support.sql import query

Disk = namedtuple("Disk", "total used free")
GIGABYTE = 1024**3


def _strictly(check: str, warning: float) -> None:
    query("UPDATE health_checks SET warning_at = %s, critical_at = NULL WHERE check_name = %s", warning, check)


def measured(**changes: object) -> Callable[[Scene], Named]:
    """A setting is changed, web and worker are restarted, and the alerts are evaluated."""

    def change(scene: Scene) -> Named:
        for name, value in changes.items():
            setattr(scene.settings, name, value)
        measuring.measure()
        return {}

    return change


def _disk(gigabytes: int) -> Callable[[Scene], Named]:
    """One of 100 GB of which so much is used."""

    def be(scene: Scene) -> Named:
        disk = Disk(100 * GIGABYTE, gigabytes * GIGABYTE, (100 - gigabytes) * GIGABYTE)
        scene.patch.setattr(measuring.shutil, "disk_usage", lambda path: disk)
        measuring.measure()
        return {}

    return be


def _growing(scene: Scene) -> Named:
    _disk(50)(scene)
    query(
        "INSERT INTO disk_samples (host, place, sampled_at, used_bytes, free_bytes)"
        " SELECT host, place, sampled_at - interval '5 days', used_bytes - 25 * %s::bigint, 0"
        " FROM disk_samples WHERE place = 'BACKUP_DIR'",
        GIGABYTE,
    )
    return {}


def _larger(scene: Scene) -> None:
    """The disk that is filled by 5 GB a day."""
    disk = Disk(1000 * GIGABYTE, 50 * GIGABYTE, 950 * GIGABYTE)
    scene.patch.setattr(measuring.shutil, "disk_usage", lambda path: disk)
    measuring.measure()


def _heartbeat(problem: str | None) -> Callable[[Scene], Named]:
    def asked(scene: Scene) -> Named:
        scene.settings.HEARTBEAT_URL = "https://hc.example.com/x"
        scene.patch.setattr(dead_mans_switch, "ask", lambda: problem)
        measuring.ask_outside()
        return {}

    return asked


def _others_events(scene: Scene) -> Named:
    factories.webhook_event(status="ignored", livemode=True)
    return measured()(scene)


def _event_of_ours(scene: Scene) -> None:
    factories.webhook_event(status="processed", livemode=False)
    measuring.measure()


def _as_the_application(scene: Scene) -> None:
    query("SET LOCAL ROLE glyphforge_app")
    measuring.measure()
    query("RESET ROLE")


def _without_statistics(scene: Scene) -> Named:
    sql_roles.install()
    query("REVOKE pg_read_all_stats FROM glyphforge_app")
    _as_the_application(scene)
    return {}


def _limited_role(scene: Scene) -> Named:
    query("ALTER ROLE CURRENT_USER CONNECTION LIMIT 1")
    return {}


def _raised_limit(scene: Scene) -> None:
    query("ALTER ROLE CURRENT_USER CONNECTION LIMIT 1000")


def _abandoned_slot(scene: Scene) -> Named:
    other = scene.connected(autocommit=True)
    other.execute("SELECT pg_create_physical_replication_slot('of_a_remedy', true)")
    scene.sessions.callback(query, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                            " WHERE slot_name = 'of_a_remedy'")  # fmt: skip
    _strictly("retained_wal", -0.0)
    # A hundredth of a gigabyte of log.
    other.execute("SELECT pg_logical_emit_message(false, 'of_a_remedy', repeat('x', 12000000))")
    return {"name": "'of_a_remedy'"}


def _switched_off(scene: Scene) -> Named:
    schedules.install()
    controls.switch("rollup", on=False, actor="grace", reason="Too slow")
    return {'"Switch on"': (JobSchedule.objects.get(job="rollup"), ONE_ROW)}


def _conflict(scene: Scene) -> Named:
    key = factories.api_key().pk
    for status in (200, 500):
        query("SELECT record_api_usage(%s, '/', 'GET', %s, 1, request_id => 'same')", key, status)
    return {}


def _a_day_later(scene: Scene) -> None:
    query("UPDATE api_usage_request_ids SET conflicted_at = conflicted_at - interval '1 day'")


def _missing_view(scene: Scene) -> Named:
    query("DROP VIEW v_failed_webhook_events CASCADE")
    return {}


def _odd_subscription(scene: Scene) -> Named:
    stream = EventStream(scene.world).signed_up()
    stream.item["quantity"] = 10**20
    reconciliation.run(actor="job", reason="daily", repair=True)
    stream.item["quantity"] = 2  # corrected at Stripe
    return {'"Repair"': (Difference, ONE_ROW)}


def _locked(scene: Scene) -> Named:
    holder = scene.connected()
    holder.execute("LOCK TABLE unmatched_stripe_customers IN ACCESS EXCLUSIVE MODE")
    return {'"End session"': (DatabaseSession.objects.get(pid=holder.info.backend_pid), ONE_ROW)}


CASES = [
    Case("disk_used", _disk(91), (), _disk(50)),
    Case("disk_full_in", _growing, (), _larger),
    Case("alert_channels", measured(), (), measured(SLACK_WEBHOOK_URL="https://hooks.example.com/x")),
    Case("alert_channels", measured(), (), measured(ALERT_EMAIL="ops@example.com")),
    Case("heartbeat_url", _heartbeat("hc.example.com was not reached."), (), _heartbeat(None)),
    Case("stripe_mode", measured(STRIPE_LIVE_SECRET_KEY="sk_live_abcdefgh"), (),
         measured(STRIPE_LIVE_MODE=True)),
    Case("other_mode_events", _others_events, (), _event_of_ours),
    Case("missing_rights", _without_statistics, ("manage.py database init --roles",), _as_the_application),
    Case("role_connections", _limited_role, (), _raised_limit),
    Case("retained_wal", _abandoned_slot, ("SELECT pg_drop_replication_slot(name)",)),
    Case("switched_off_jobs", _switched_off, ('"Switch on"',)),
    Case("request_id_conflicts", _conflict, (), _a_day_later),
    Case("unrepaired_differences", _odd_subscription, ('"Repair"',)),
    Case("unmeasured_checks", _missing_view, ("manage.py database verify --sql", "manage.py run_job alerts")),
]  # fmt: skip
# Where another session holds what the test itself would read.
COMMITTED = [Case("unmeasured_checks", _locked, ('"End session"',))]
