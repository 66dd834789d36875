"""The daily report, on paper and on its way."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from billing.models import User
from monitoring import reports
from monitoring.dashboard import figures
from monitoring.models import Alert, JobRun, Notification
from monitoring.notifications.outbox import deliver_notifications
from tests.support import factories
from tests.support.mail_server import Mailbox
from tests.support.slack import Slack, assert_fits
from tests.support.sql import SQL, run

pytestmark = [pytest.mark.django_db, pytest.mark.one_day]


def yesterday() -> date:
    """Asked for anew: a suite may run past midnight."""
    return figures.today() - timedelta(days=1)


@pytest.fixture
def history() -> None:
    """A customer of ten days, twice the usage of a week ago, a failed job and an alert."""
    noon = figures.midnight(yesterday()) + timedelta(hours=12)
    paid = factories.subscription(created_at=noon - timedelta(days=10))
    factories.payment(paid.user, paid_at=noon)
    factories.payment(paid.user, status="failed", paid_at=None, created_at=noon)
    JobRun.objects.create(
        job="sync", status="failed", started_at=noon, finished_at=noon, error="lock timeout\nmore", scheduled_for=noon
    )
    factories.alert(subject="invoice <1>", message="Given up")
    for days, count in ((1, 10), (2, 10), (8, 5)):
        one_in_ten_fails = SQL("200 + 300 * (n / 10)")
        factories.requests(paid.user, count, status_code=one_in_ten_fails, created_at=noon - timedelta(days=days - 1))
    User.objects.update(created_at=noon - timedelta(days=12))
    run("SELECT rebuild_mrr_history(true)")


def figure(report: Any, label: str) -> Any:
    return next(row for section in report.sections for row in section.figures if row.label == label)


def test_report_compares_with_the_day_and_the_week_before(history: None) -> None:
    report = reports.build_report()
    assert report.day == yesterday()
    assert report.headline == "MRR $29 (+$0), 10 requests, 1 open alert, 1 critical"
    requests = figure(report, "Requests")
    assert (requests.value, requests.day_before.text, requests.week_before.text) == ("10", "=", "+100.0 %")
    assert requests.week_before.tone == "good"
    errors = figure(report, "Error rate")
    assert (errors.value, errors.week_before.text, errors.week_before.tone) == ("10.0 %", "new", "bad")
    assert figure(report, "Payments").value == "$29"
    assert figure(report, "Failed payments").value == "1"
    assert figure(report, "Failed job runs").value == "1"


def test_text_has_every_section_and_the_trouble(history: None) -> None:
    text = reports.render_text(reports.build_report())
    for expected in (
        "Business", "Usage", "Health", "Maintenance", "Critical: invoice <1>: Given up", "sync failed: lock timeout",
        "Last 14 days", "█",
    ):  # fmt: skip
        assert expected in text
    assert "more" not in text.split("sync failed")[1].splitlines()[0]


def test_what_is_at_risk_and_what_came_back_is_told() -> None:
    now = figures.midnight(figures.today())
    overdue = factories.open_invoice()
    failed = {"status": "failed", "paid_at": None, "created_at": now, "decline_code": "expired_card"}
    factories.payment(overdue.user, stripe_invoice_id=overdue.stripe_invoice_id, **failed)
    factories.payment(overdue.user, stripe_invoice_id="in_back", **failed)
    factories.payment(overdue.user, stripe_invoice_id="in_back", paid_at=now)
    text = reports.render_text(reports.build_report())
    assert "Overdue: 1 invoice of 1 customer, $29; MRR at stake $29" in text
    assert "Failed this month: 2 ($58), recovered 1 ($29), lost 0 ($0), open 1 ($29)" in text


def test_a_job_that_failed_twice_is_told_with_its_latest_error(history: None) -> None:
    evening = figures.midnight(yesterday()) + timedelta(hours=20)
    JobRun.objects.create(job="sync", status="failed", started_at=evening, scheduled_for=evening, error="disk full")
    text = reports.render_text(reports.build_report())
    assert "sync failed: disk full" in text
    assert "lock timeout" not in text


def test_html_escapes_and_uses_no_remote_content(history: None) -> None:
    html = reports.render_html(reports.build_report())
    assert "invoice &lt;1&gt;" in html
    assert "<img" not in html
    assert "<script" not in html


def test_slack_message_fits(history: None) -> None:
    Alert.objects.update(subject="<&>" * 250, message="&" * 5000)
    assert_fits(reports.render_slack(reports.build_report()))


def test_empty_database_has_a_report() -> None:
    assert "MRR $0" in reports.render_text(reports.build_report())


def test_report_names_what_it_cannot_read_and_has_the_rest(history: None) -> None:
    run("ALTER TABLE payment_movements RENAME TO lost")
    run("DROP VIEW v_system_health CASCADE")
    report = reports.build_report()
    assert figure(report, "Payments").value == figure(report, "Refunded").value == "-"
    assert (figure(report, "Requests").value, figure(report, "Failed payments").value) == ("10", "1")
    assert report.headline == "MRR $29 (+$0), 10 requests, 1 open alert, 1 critical"
    left_out = report.sections[-1]
    missing = "Something that it reads is missing: run manage.py database verify."
    assert (left_out.title, left_out.lines) == ("Not in this report", [f"Payments: {missing}", f"Checks: {missing}"])


def test_report_goes_out_once_a_day_on_every_channel(history: None, slack: Slack, mailbox: Mailbox) -> None:
    assert reports.send().rows == 2
    assert reports.send().rows == 0
    assert deliver_notifications().rows == 2
    assert reports.send().rows == 0
    assert deliver_notifications().rows == 0
    assert slack.posts[0]["text"].startswith(f"Daily report, {yesterday()}")
    (mail,) = mailbox.messages
    assert "MRR $29" in mail["Subject"]
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


def test_report_waits_for_a_mail_server_that_is_down(history: None, mailbox: Mailbox) -> None:
    mailbox.reply = "421 Try again later"
    reports.send()
    assert deliver_notifications().detail["email_failed"] == 1
    mailbox.reply = "250 OK"
    Notification.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    assert deliver_notifications().rows == 1


@override_settings(SLACK_WEBHOOK_URL="", ALERT_EMAIL="")
def test_nobody_to_send_it_to() -> None:
    assert reports.send().rows == 0


class TestCommand:
    def test_report_is_printed_and_not_sent(self, history: None, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("run_job", "report", "--print")
        assert "Net new MRR" in capsys.readouterr().out
        assert not Notification.objects.exists()

    def test_only_the_report_can_be_printed(self) -> None:
        with pytest.raises(CommandError, match="sync: only the report can be printed"):
            call_command("run_job", "sync", "--print")
