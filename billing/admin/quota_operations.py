"""Granting a customer more than the plan for a while, ending that early, and correcting what was used."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminSplitDateTimeWidget

from billing.admin.customer_operations import NOT_DELETED
from billing.models import ApiKey, ExtraQuota
from billing.models.extra_quota import end_of_month
from billing.services import extra_quota, usage_corrections
from billing.services.extra_quota import MOST_PER_MINUTE, MOST_REQUESTS, Terms
from glyphforge.admin.columns import number
from glyphforge.admin.operations import Operation, Preview, ReasonForm
from glyphforge.errors import Refused


class LookedAtForm(ReasonForm):
    """A form whose terms, once they were shown, are confirmed as they were shown."""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.is_confirmed and self.shown and not self.errors and self.shown != self.said:
            raise forms.ValidationError("This is what it comes to now: look at it, and confirm.")
        return cleaned

    @property
    def said(self) -> str:
        """The terms as a text, for the form to carry."""
        return repr(sorted((name, str(value)) for name, value in self.cleaned_data.items() if name != "reason"))


def _keys(rows: QuerySet[Any], none: str) -> Iterator[tuple[str, str]]:
    """The customer's keys that work, to choose from; the first choice is none of them."""
    yield "", none
    for key in ApiKey.objects.filter(user__in=rows, revoked_at=None).order_by("created_at"):
        yield str(key.pk), f"{key.key_prefix}… {key.name or ''}".rstrip()


class GrantForm(LookedAtForm):
    """How much more, for which key, until when, and why."""

    extra_requests = forms.IntegerField(
        label="Requests a month more",
        min_value=0,
        max_value=MOST_REQUESTS,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="In each calendar month (UTC) that it touches, while it is in force.",
    )
    extra_per_minute = forms.IntegerField(
        label="Requests a minute more",
        min_value=0,
        max_value=MOST_PER_MINUTE,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="For each key.",
    )
    api_key = forms.ChoiceField(label="For", required=False, widget=UnfoldAdminSelectWidget)
    until = forms.SplitDateTimeField(
        label="Until",
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="UTC. It ends by itself, and can be ended before.",
    )
    field_order = ["extra_requests", "extra_per_minute", "api_key", "until", "reason"]

    def __init__(self, *args: Any, rows: QuerySet[Any], **kwargs: Any) -> None:
        super().__init__(*args, rows=rows, **kwargs)
        self.initial.setdefault("until", end_of_month(timezone.now()))
        key: Any = self.fields["api_key"]
        key.choices = list(_keys(rows, "All keys of the customer"))

    @property
    def terms(self) -> Terms:
        """What is to be granted."""
        said = self.cleaned_data
        return Terms(
            extra_requests=said["extra_requests"] or 0,
            extra_per_minute=said["extra_per_minute"] or 0,
            ends_at=said["until"],
            api_key_id=said["api_key"] or None,
        )


class GrantExtraQuota(Operation):
    """The customer may use more than the plan, for a while."""

    name = "grant_extra_quota"
    label = "Grant extra quota"
    once = False  # the grant keeps the token
    permission = "billing.grant_extraquota"
    icon = "add_chart"
    form_class = GrantForm
    has_preview = True
    when = {"status": NOT_DELETED}

    def effect(self, count: int) -> str:
        return "The customer is served beyond the plan's limits from now on. What they pay stays as it is."

    def preview(self, rows: QuerySet[Any], form: Any) -> Preview:
        terms = form.terms
        extra_quota.check(terms)
        now = extra_quota.standing(rows.get())
        a_month = None if now.a_month is None else now.a_month + terms.extra_requests
        compared = [
            ("Requests a month", number(now.a_month, none="unlimited"), number(a_month, none="unlimited")),
            ("Requests a minute and key", number(now.a_minute), number(now.a_minute + terms.extra_per_minute)),
            (f"Used this month: {now.used:,}", now.share(now.a_month), now.share(a_month)),
        ]
        key = dict(form.fields["api_key"].choices)[form.cleaned_data["api_key"]]
        content = {"compared": compared, "note": f"{key}, until {terms.ends_at:%Y-%m-%d %H:%M} UTC."}
        return Preview("billing/quota_preview.html", form.said, content)

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: Any) -> str:
        user = rows.get()
        granted = extra_quota.grant(user, form.terms, actor=actor, reason=reason, token=form.token)
        return f"{user} has {granted}."


class EndExtraQuota(Operation):
    """The plan's limits hold again, before the day that was set."""

    name = "end"
    label = "End now"
    permission = "billing.grant_extraquota"
    icon = "event_busy"
    danger = True

    def applicable(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.filter(ends_at__gt=Now())

    def offered(self, row: ExtraQuota) -> bool:
        return row.ends_at > timezone.now()

    def nothing(self, row: ExtraQuota) -> str:
        return f"It has ended on {row.ends_at:%Y-%m-%d %H:%M} UTC."

    def describe(self, row: ExtraQuota) -> str:
        return f"{row.user}: {row}"

    def effect(self, count: int) -> str:
        return "The plan's limits hold again at once. Who has used more is refused until the month ends."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row = rows.get()
        ended = extra_quota.end(row, actor=actor, reason=reason)
        return "It has ended." if ended else "It is gone: it had not begun."


class CorrectForm(LookedAtForm):
    """Which month counts how many requests more or fewer, and why."""

    month = forms.ChoiceField(label="Month", widget=UnfoldAdminSelectWidget)
    requests = forms.IntegerField(
        label="Requests",
        min_value=-usage_corrections.MOST,
        max_value=usage_corrections.MOST,
        widget=UnfoldAdminIntegerFieldWidget(attrs={"min": -usage_corrections.MOST}),
        help_text="With a minus they are taken off; without, they are added.",
    )
    api_key = forms.ChoiceField(label="About", required=False, widget=UnfoldAdminSelectWidget)
    field_order = ["month", "requests", "api_key", "reason"]

    def __init__(self, *args: Any, rows: QuerySet[Any], **kwargs: Any) -> None:
        super().__init__(*args, rows=rows, **kwargs)
        fields: dict[str, Any] = self.fields
        months = usage_corrections.months_until(timezone.now())
        fields["month"].choices = [(month.isoformat(), f"{month:%Y-%m}") for month in months]
        fields["api_key"].choices = list(_keys(rows, "No key in particular"))

    def clean_requests(self) -> int:
        requests: int = self.cleaned_data["requests"]
        if not requests:
            raise forms.ValidationError("Say how many requests: 0 corrects nothing.")
        return requests


class CorrectUsage(Operation):
    """A month counts more requests, or fewer, than were recorded."""

    name = "correct_usage"
    label = "Correct usage"
    once = False  # the entry keeps the token
    permission = "billing.correct_usage"
    icon = "exposure"
    form_class = CorrectForm
    has_preview = True
    when = {"status": NOT_DELETED}

    def effect(self, count: int) -> str:
        return (
            "The correction stands beside what was counted and changes what is held against the limit. It is kept for"
            " good: what is wrong is corrected by another one."
        )

    def preview(self, rows: QuerySet[Any], form: Any) -> Preview:
        requests = form.cleaned_data["requests"]
        now = usage_corrections.counted(rows.get(), _month(form))
        left = now.requests + now.corrected + requests
        if requests < 0 and left < 0:
            raise Refused(f"The month counts {now.used:,} requests: {-requests:,} cannot be taken off.")
        compared = [
            ("Counted", number(now.requests), number(now.requests)),
            ("Corrected", f"{now.corrected:+,}", f"{now.corrected + requests:+,}"),
            ("Used", number(now.used), number(max(left, 0))),
        ]
        content = {"compared": compared, "note": f"{_month(form):%Y-%m}, UTC."}
        return Preview("billing/quota_preview.html", form.said, content)

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: Any) -> str:
        user, month = rows.get(), _month(form)
        used = usage_corrections.correct(
            user,
            month,
            form.cleaned_data["requests"],
            actor=actor,
            reason=reason,
            api_key_id=form.cleaned_data["api_key"] or None,
            token=form.token,
        )
        return f"{month:%Y-%m} of {user} counts {used:,} requests."


def _month(form: Any) -> date:
    return date.fromisoformat(form.cleaned_data["month"])
