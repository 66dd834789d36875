"""What staff may do to an API key."""

from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget

from billing.admin.new_key import to_new_key
from billing.keys import lifecycle
from billing.models import ApiKey
from glyphforge.admin.operations import Operation, ReasonForm, counted

OVERLAPS = [(0, "None: the old key ends now"), (1, "1 hour"), (24, "1 day"), (168, "7 days"), (720, "30 days")]


def _named(key: ApiKey) -> str:
    name = f" ({key.name})" if key.name else ""
    return f"{key.key_prefix}…{name} of {key.user}, {key.get_environment_display().lower()}"


class RotateForm(ReasonForm):
    """For how many hours old and new key both work; `issued` is set once the new one is made."""

    overlap = forms.TypedChoiceField(
        coerce=int,
        choices=OVERLAPS,
        initial=24,
        widget=UnfoldAdminSelectWidget,
        help_text="How long old and new key both work.",
    )
    field_order = ["overlap", "reason"]
    issued: lifecycle.IssuedKey


class RotateKey(Operation):
    """A key is replaced by a new one; both work for a while."""

    name = "rotate"
    label = "Rotate"
    permission = "billing.rotate_apikey"
    icon = "autorenew"
    form_class = RotateForm

    def applicable(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        lasting = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
        return rows.filter(lasting, revoked_at__isnull=True, replaced_at__isnull=True)

    def offered(self, row: ApiKey) -> bool:
        return row.revoked_at is None and row.replaced_at is None and not row.is_expired

    def nothing(self, row: ApiKey | None) -> str:
        if row is not None and row.replaced_at is not None:
            return f"{row.key_prefix}… was replaced already, and works until {row.expires_at:%Y-%m-%d %H:%M} UTC."
        return super().nothing(row)

    def describe(self, row: ApiKey) -> str:
        return _named(row)

    def effect(self, count: int) -> str:
        return "A new key takes this one's place. It is shown once, on the next page."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: Any) -> str:
        old = rows.get()
        overlap = timedelta(hours=form.cleaned_data["overlap"])
        form.issued = lifecycle.rotate(old, actor=actor, reason=reason, overlap=overlap)
        return f"{form.issued.key.key_prefix} replaces {old.key_prefix}."

    def respond(self, request: HttpRequest, form: Any, back: str) -> HttpResponseBase:
        return to_new_key(request, form.issued, back)


class RevokeKey(Operation):
    """A key stops working for good."""

    name = "revoke"
    label = "Revoke"
    permission = "billing.revoke_apikey"
    icon = "key_off"
    danger = True
    when = {"revoked_at": None}

    def describe(self, row: ApiKey) -> str:
        return _named(row)

    def effect(self, count: int) -> str:
        return "The key stops working within seconds and can never be revived. Whoever uses it is refused."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        key = lifecycle.revoke(rows.get(), actor=actor, reason=reason)
        return f"{key.key_prefix}… is revoked."


class LeakForm(ReasonForm):
    """What was found in the open, and where; what was found is never shown again."""

    # A password's widget: what is pasted is not shown, not offered again and not put back into the page.
    found = forms.CharField(
        label="Key, or how it begins",
        max_length=200,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
        help_text="As it was found: the whole key, or its prefix (glyph_sk_live_ and 8 characters). It is not stored.",
    )
    field_order = ["found", "reason"]


class ReportLeakedKey(Operation):
    """A key that was found in the open stops working, and its owner is told."""

    name = "report_leaked"
    label = "Report a leaked key"
    permission = "billing.revoke_apikey"
    icon = "report"
    danger = True
    on_one = False
    on_all = True
    makes_new = True  # which key it is, only what was found says
    form_class = LeakForm

    def effect(self, count: int) -> str:
        return "The key stops working within seconds and can never be revived. Its owner gets an e-mail."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        keys = lifecycle.report_leaked(form.cleaned_data["found"], actor=actor, reason=reason)
        return f"{counted(len(keys), 'key')} revoked: {', '.join(f'{key.key_prefix}… of {key.user}' for key in keys)}."
