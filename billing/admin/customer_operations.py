"""What staff may do to a customer."""

from typing import Any

from django import forms
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponseBase
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from billing.admin.amount_form import AmountForm
from billing.admin.new_key import to_new_key
from billing.admin.stripe_operation import StripeOperation, told
from billing.keys import lifecycle
from billing.models import ApiKey, Subscription, User
from billing.services import accounts, credits, customers, notes, orphans
from glyphforge.admin.operations import GIVEN, Operation, ReasonForm, counted
from glyphforge.money import money

NOT_DELETED = {User.Status.ACTIVE, User.Status.SUSPENDED}


class FixOrphans(Operation):
    """Every customer at Stripe without a live subscription here gets the free plan."""

    name = "fix_orphans"
    label = "Fix orphans"
    permission = "billing.fix_orphans"
    icon = "build"
    on_one = False
    on_all = True

    def applicable(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        live = Subscription.objects.filter(user=OuterRef("pk"), status__in=Subscription.LIVE, is_duplicate=False)
        known_to_stripe = rows.filter(stripe_customer_id__isnull=False).exclude(status=User.Status.DELETED)
        return known_to_stripe.filter(~Exists(live))

    def effect(self, count: int) -> str:
        return (
            f"{counted(count, 'customer')} with a Stripe customer and without a live subscription"
            f" {'gets' if count == 1 else 'get'} the free plan."
        )

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        fixed = orphans.fix(actor=actor, reason=reason)
        return f"{counted(len(fixed), 'customer')} got the free plan."


class Suspend(Operation):
    """The customer's keys stop working."""

    name = "suspend"
    label = "Suspend"
    permission = "billing.suspend_user"
    icon = "block"
    danger = True
    when = {"status": User.Status.ACTIVE}

    def effect(self, count: int) -> str:
        return "The customer's API keys stop working within seconds. Subscription and payments at Stripe go on."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        user = rows.get()
        accounts.suspend(user, actor=actor, reason=reason)
        return f"{user} is suspended; no key of theirs works any more."


class Reactivate(Operation):
    """A suspended customer's keys work again."""

    name = "reactivate"
    label = "Reactivate"
    permission = "billing.suspend_user"
    icon = "check_circle"
    when = {"status": User.Status.SUSPENDED, "erased_at": None}

    def effect(self, count: int) -> str:
        return "The customer's API keys that are neither revoked nor expired work again."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        user = rows.get()
        accounts.reactivate(user, actor=actor, reason=reason)
        return f"{user} is active again."


class SyncFromStripe(Operation):
    """Our rows are brought in line with Stripe's, now."""

    name = "sync"
    label = "Sync from Stripe"
    permission = "billing.sync_customer"
    icon = "sync"
    when = {"stripe_customer_id": GIVEN}

    def effect(self, count: int) -> str:
        return "Name, subscriptions and payments are fetched from Stripe and our rows brought in line with them."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        user = rows.get()
        customers.sync_customer(user, actor=actor, reason=reason)
        return f"{user} is in line with Stripe."


class LinkForm(ReasonForm):
    """The id of a customer at Stripe, `cus_…`, and why."""

    stripe_customer_id = forms.RegexField(
        r"^cus_\w+$",
        label="Stripe customer",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "cus_…"}),
        error_messages={"invalid": "A Stripe customer begins with cus_."},
    )
    place = forms.ChoiceField(
        label="Beside those that they have, or first",
        choices=[("beside", "Beside"), ("primary", "Primary: name and address are its")],
        initial="beside",
        required=False,
        widget=UnfoldAdminSelectWidget,
    )
    field_order = ["stripe_customer_id", "place", "reason"]


class LinkCustomer(Operation):
    """A customer at Stripe is declared to be this one."""

    name = "link"
    label = "Link Stripe customer"
    permission = "billing.link_customer"
    icon = "link"
    form_class = LinkForm
    when = {"status": NOT_DELETED, "erased_at": None}

    def effect(self, count: int) -> str:
        return (
            "The Stripe customer's subscriptions and payments become this customer's, Stripe is told whose they are,"
            " and events that waited for the link are processed again."
        )

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        user, stripe_id = rows.get(), form.cleaned_data["stripe_customer_id"]
        first = form.cleaned_data["place"] == "primary"
        customers.link_customer(stripe_id, user, actor=actor, reason=reason, make_primary=first)
        return f"{stripe_id} now belongs to {user}."


class NoteForm(ReasonForm):
    """The note itself, in place of a reason."""

    reason = forms.CharField(
        label="Note",
        min_length=3,
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 5}),
        help_text="Seen by all staff and kept for good. Never put card numbers or keys here.",
    )


class AddNote(Operation):
    """Something the next person should know."""

    name = "note"
    label = "Add note"
    permission = "billing.add_customernote"
    icon = "edit_note"
    form_class = NoteForm

    def effect(self, count: int) -> str:
        return "The note appears on the customer's page. The customer never sees it."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        notes.add(rows.get(), author=actor, body=reason)
        return "The note is on the customer's page."


class NewKeyForm(ReasonForm):
    """What the key is for; `issued` is set once it is made, for the page that shows it."""

    environment = forms.ChoiceField(choices=ApiKey.Environment.choices, widget=UnfoldAdminSelectWidget)
    name = forms.CharField(
        required=False,
        max_length=100,
        widget=UnfoldAdminTextInputWidget,
        help_text="What the customer calls it; may stay empty.",
    )
    field_order = ["environment", "name", "reason"]
    issued: lifecycle.IssuedKey


class CreateKey(Operation):
    """A new key, shown once."""

    name = "create_key"
    label = "Create key"
    permission = "billing.add_apikey"
    icon = "key"
    form_class = NewKeyForm
    when = {"status": User.Status.ACTIVE}

    def effect(self, count: int) -> str:
        return "A new API key is made for the customer. It is shown once, on the next page."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: Any) -> str:
        form.issued = lifecycle.issue(
            rows.get(),
            environment=form.cleaned_data["environment"],
            name=form.cleaned_data["name"],
            actor=actor,
            reason=reason,
        )
        return f"The key {form.issued.key.key_prefix}… is made."

    def respond(self, request: HttpRequest, form: Any, back: str) -> HttpResponseBase:
        return to_new_key(request, form.issued, back)


class CreditForm(AmountForm):
    """How much the customer is to have, in the currency that they are invoiced in, and why."""

    def __init__(self, *args: Any, rows: QuerySet[Any], **kwargs: Any) -> None:
        user = rows.first()
        super().__init__(*args, rows=rows, currency=(credits.currency_of(user) if user else None) or "usd", **kwargs)


class CreditCustomer(StripeOperation):
    """The customer has an amount to their credit, which the next invoices use up."""

    name = "credit"
    label = "Credit"
    permission = "billing.credit_user"
    icon = "savings"
    form_class = CreditForm
    when = {"stripe_customer_id": GIVEN}

    def effect(self, count: int) -> str:
        return "Stripe takes the amount off the customer's next invoices, until it is used up. No money is sent."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: Any) -> str:
        user, cents = rows.get(), form.cents
        request = credits.credit(user, cents, form.currency, actor=actor, reason=reason, token=form.token)
        return told(f"{user} has {money(cents, form.currency)} more to their credit ({request.answer_id}).", request)
