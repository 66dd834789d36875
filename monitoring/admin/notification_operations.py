"""What staff may do on the page of messages."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from unfold.widgets import UnfoldAdminSelectWidget

from glyphforge.admin.operations import Operation, ReasonForm
from monitoring.models import Notification
from monitoring.notifications import routing, trial


class ChannelForm(ReasonForm):
    """One of the channels that are configured."""

    def __init__(self, *args: Any, rows: QuerySet[Any], **kwargs: Any) -> None:
        super().__init__(*args, rows=rows, **kwargs)
        self.fields["channel"] = forms.ChoiceField(
            choices=[(each.value, each.label) for each in routing.configured()],
            widget=UnfoldAdminSelectWidget,
            error_messages={"required": "No channel is configured: set SLACK_WEBHOOK_URL or ALERT_EMAIL."},
        )
        self.order_fields(["channel", "reason"])


class SendTest(Operation):
    """Sends a message to a channel, to see whether it arrives."""

    name, label, icon = "test", "Send a test message", "outgoing_mail"
    permission = "monitoring.send_test_notification"
    on_one = False
    on_all = True
    makes_new = True
    form_class = ChannelForm

    def effect(self, count: int) -> str:
        if not routing.configured():
            return "No channel is configured: set SLACK_WEBHOOK_URL, or ALERT_EMAIL with EMAIL_URL."
        return "Sends a message at once that says that it is a test, and tells whether the channel took it."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        channel = Notification.Channel(form.cleaned_data["channel"])
        trial.send_test(channel, actor=actor, reason=reason)
        return f"{channel.label} took the test message."
