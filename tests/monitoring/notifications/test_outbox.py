"""Delivery to a local Slack and a local mail server, outages included."""

import json
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from monitoring.alerts.evaluation import evaluate
from monitoring.alerts.observation import Observation
from monitoring.models import Alert, Notification
from monitoring.notifications import slack as slack_channel
from monitoring.notifications.outbox import MOST_ATTEMPTS, deliver_notifications, pause
from tests.support.mail_server import Mailbox
from tests.support.slack import Slack, assert_fits

pytestmark = pytest.mark.django_db
See = Callable[..., dict[str, Observation]]


def observe(seen: dict[str, Observation], *, minutes: int = 0) -> None:
    with transaction.atomic():
        evaluate(seen, timezone.now() + timedelta(minutes=minutes))
    Notification.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))


def due_again() -> None:
    Notification.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))


def texts(payload: dict[str, Any]) -> str:
    return json.dumps(payload, ensure_ascii=False)


class TestSlack:
    def test_message_has_text_blocks_and_links(self, slack: Slack, see: See) -> None:
        observe(see(evt_1="critical"))
        assert deliver_notifications().rows == 1
        (payload,) = slack.posts
        assert payload["text"] == (
            "New critical: invoice.paid evt_1: Failed after 2 attempts: &lt;no plan&gt; claims the price"
        )
        assert [block["type"] for block in payload["blocks"]] == ["section", "context", "actions"]
        alert = Alert.objects.get()
        assert [button["url"] for button in payload["blocks"][-1]["elements"]] == [
            "https://billing.example.com/admin/billing/webhookevent/?q=evt_1",
            f"https://billing.example.com/admin/monitoring/alert/{alert.pk}/change/",
        ]
        assert deliver_notifications().rows == 0

    def test_resolution_says_so(self, slack: Slack, see: See) -> None:
        observe(see(evt_1="critical"))
        deliver_notifications()
        observe({}, minutes=1)
        observe({}, minutes=2)
        deliver_notifications()
        assert slack.posts[1]["text"].startswith("Resolved critical: invoice.paid evt_1")

    def test_many_at_once_are_one_summary(self, slack: Slack, see: See) -> None:
        observe(see(**{f"evt_{n}": "critical" for n in range(400)}))
        assert deliver_notifications().rows == 400
        (payload,) = slack.posts
        assert payload["text"] == "400 alert changes: 400 new critical"
        assert "more" in payload["blocks"][-2]["elements"][0]["text"]
        assert_fits(payload)
        assert Notification.objects.values("delivery_id").distinct().count() == 1

    def test_every_message_fits_the_limits_of_slack(self, slack: Slack, see: See) -> None:
        seen = see(evt_1="critical")
        for fingerprint, observation in list(seen.items()):
            seen[fingerprint] = Observation(
                **{**observation.__dict__, "subject": "<&>" * 250, "message": "&" * 9000, "remediation": "<" * 9000}
            )
        observe(seen)
        deliver_notifications()
        assert_fits(slack.posts[0])

    def test_ten_messages_a_minute(self, slack: Slack, see: See) -> None:
        names: list[str] = []
        sent = []
        for batch in range(5):
            names += [f"evt_{batch}_{n}" for n in range(4)]
            observe(see(**dict.fromkeys(names, "critical")))
            deliver_notifications()
            sent.append(len(slack.posts))
        # Four and four alone; then two, and then one, summaries are all that is left of the minute.
        assert sent == [4, 8, 9, 10, 10]
        assert Notification.objects.filter(status="pending").count() == 4

    @pytest.mark.parametrize("status", [429, 500, 404])
    def test_outage_loses_nothing(self, slack: Slack, see: See, status: int) -> None:
        slack.status, slack.headers = status, {"Retry-After": "120"}
        began = timezone.now()
        observe(see(evt_1="critical", evt_2="critical"))
        assert deliver_notifications().detail["slack_failed"] == 2
        first, second = Notification.objects.order_by("id")
        assert (first.status, first.attempts) == ("pending", 1)
        assert first.last_error == f"Slack answered {status}: rate_limited"
        assert first.next_attempt_at >= began + timedelta(seconds=120)
        assert second.last_error == "The channel did not take an earlier message."
        assert deliver_notifications().rows == 0  # not due yet

        slack.status = 200
        due_again()
        assert deliver_notifications().rows == 2
        assert len(slack.posts) == 2

    def test_redirect_is_no_delivery(self, slack: Slack, see: See) -> None:
        """A network that wants a sign-in first answers for Slack, and answers 200 in the end."""
        slack.status, slack.headers = 302, {"Location": slack.url}
        observe(see(evt_1="critical"))
        assert deliver_notifications().detail["slack_failed"] == 1
        assert str(Notification.objects.get().last_error).startswith("Slack answered 302")

    @pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.9\r\n", b"", None], ids=["no HTTP", "nothing", "silence"])
    def test_server_that_does_not_talk_http_holds_up_neither_job_nor_mail(
        self, see: See, mailbox: Mailbox, answer: bytes | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(slack_channel, "TIMEOUT_SECONDS", 0.3)
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                client, _ = listener.accept()
                with client:
                    client.recv(65536)
                    client.sendall(answer or b"")

            if answer is not None:
                threading.Thread(target=serve, daemon=True).start()
            with override_settings(SLACK_WEBHOOK_URL=f"http://127.0.0.1:{listener.getsockname()[1]}/x"):
                observe(see(evt_1="critical"))
                detail = deliver_notifications().detail
        assert (detail["slack_failed"], detail["email_delivered"]) == (1, 1)
        assert "Slack was not reached" in str(Notification.objects.get(channel="slack").last_error)

    def test_message_that_slack_cannot_read_holds_up_no_other(self, slack: Slack, see: See) -> None:
        slack.refuses = "evt_1"
        observe(see(evt_1="critical", evt_2="critical", evt_3="critical"))
        assert deliver_notifications().detail == {
            "slack_delivered": 2,
            "slack_failed": 1,
            "email_delivered": 0,
            "email_failed": 0,
        }
        refused = Notification.objects.get(status="pending")
        assert (refused.attempts, refused.last_error) == (1, "Slack answered 400: invalid_blocks")

    def test_message_that_cannot_be_written_holds_up_neither_others_nor_the_mail(
        self, slack: Slack, mailbox: Mailbox, see: See, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = slack_channel.one

        def broken(notification: Notification, title: str) -> dict[str, Any]:
            if "evt_1" in title:
                raise KeyError("no such page")
            return write(notification, title)

        monkeypatch.setattr(slack_channel, "one", broken)
        observe(see(evt_1="critical", evt_2="critical"))
        assert deliver_notifications().detail == {
            "slack_delivered": 1,
            "slack_failed": 1,
            "email_delivered": 2,
            "email_failed": 0,
        }
        assert Notification.objects.get(status="pending").last_error == "KeyError: 'no such page'"

    def test_unreachable_slack_is_given_up_after_hours(self, see: See) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{reserved.getsockname()[1]}/services/secret"
            with override_settings(SLACK_WEBHOOK_URL=url):
                observe(see(evt_1="critical"))
                Notification.objects.update(attempts=MOST_ATTEMPTS - 1)
                deliver_notifications()
        dead = Notification.objects.get()
        assert (dead.status, "secret" in str(dead.last_error)) == ("dead", False)
        assert Alert.objects.get().state == "firing"

    def test_clipping_never_splits_an_escaped_character(self) -> None:
        for length in range(10, 16):
            clipped = slack_channel.clip("12345678&amp;90", length)
            assert len(clipped) <= length
            assert "&" not in clipped.replace("&amp;", "")


class TestMail:
    def test_critical_alert_arrives_in_text_and_html(self, mailbox: Mailbox, see: See) -> None:
        observe(see(evt_1="critical"))
        assert deliver_notifications().rows == 1
        (mail,) = mailbox.messages
        assert mail["To"] == "oncall@example.com"
        assert mail["Subject"] == "[Glyph Forge] New critical: invoice.paid evt_1"
        # Once as its title, which the subject is, and not again in the line below.
        assert str(mail.get_body(("plain",))).count("invoice.paid evt_1") == 1
        assert mail["Subject"].startswith("[Glyph Forge] New critical: invoice.paid evt_1")
        text, html = (part.get_content() for part in mail.iter_parts())
        assert "What to do: Map the price, then retry." in text
        assert "/admin/billing/webhookevent/?q=evt_1" in html
        assert "&lt;no plan&gt;" in html

    def test_outage_loses_nothing_and_a_second_try_is_the_same_message(self, mailbox: Mailbox, see: See) -> None:
        mailbox.reply = "451 Requested action aborted"
        observe(see(evt_1="critical"))
        assert deliver_notifications().detail["email_failed"] == 1
        assert "451" in str(Notification.objects.get().last_error)
        mailbox.reply = "250 OK"
        due_again()
        deliver_notifications()
        Notification.objects.update(status="pending", sent_at=None)  # killed before it was marked
        due_again()
        deliver_notifications()
        assert len({mail["Message-ID"] for mail in mailbox.messages}) == 1
        assert len(mailbox.messages) == 2

    def test_mail_that_is_refused_for_itself_holds_up_no_other(self, mailbox: Mailbox, see: See) -> None:
        mailbox.refuses = "evt_1"
        observe(see(evt_1="critical", evt_2="critical"))
        detail = deliver_notifications().detail
        assert (detail["email_delivered"], detail["email_failed"]) == (1, 1)
        assert "554" in str(Notification.objects.get(status="pending").last_error)

    def test_mail_server_that_is_not_there_loses_nothing(self, see: See) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            with override_settings(
                EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend",
                EMAIL_HOST="127.0.0.1",
                EMAIL_PORT=reserved.getsockname()[1],
                ALERT_EMAIL="oncall@example.com",
            ):
                observe(see(evt_1="critical"))
                assert deliver_notifications().detail["email_failed"] == 1
        waiting = Notification.objects.get()
        assert (waiting.status, waiting.attempts) == ("pending", 1)
        assert "the mail server did not take it" in str(waiting.last_error)

    def test_down_slack_does_not_hold_up_the_mail(self, slack: Slack, mailbox: Mailbox, see: See) -> None:
        slack.status = 503
        observe(see(evt_1="critical"))
        assert deliver_notifications().detail == {
            "slack_delivered": 0,
            "slack_failed": 1,
            "email_delivered": 1,
            "email_failed": 0,
        }


def test_pauses_grow_to_half_an_hour_and_respect_the_channel() -> None:
    assert timedelta(seconds=24) <= pause(1) <= timedelta(seconds=36)
    assert timedelta(minutes=24) <= pause(50) <= timedelta(minutes=36)
    assert pause(1, retry_after_seconds=300) == timedelta(minutes=5)
    assert pause(1, retry_after_seconds=999_999) == timedelta(hours=1)
