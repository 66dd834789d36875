"""What staff decide about an overdue invoice: noted once, signed, and undone by nothing that Stripe says later."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from smtplib import SMTPRecipientsRefused, SMTPServerDisconnected
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend

from billing.models import OpenInvoice, PaymentCase, PaymentReminder
from billing.services import dunning, payment_links
from glyphforge.audit.models import AuditEntry
from glyphforge.database import installation
from glyphforge.errors import Notice, Refused
from tests.support import factories
from tests.support.sql import ago

pytestmark = pytest.mark.django_db

WHO = {"actor": "ada", "reason": "Ticket 4711"}
TOKEN = "a-token-of-a-form-1"


def days(number: int) -> date:
    return datetime.now(UTC).date() + timedelta(days=number)


@pytest.fixture
def invoice() -> OpenInvoice:
    return factories.open_invoice()


def audited(*names: str) -> list[tuple[Any, ...]]:
    entries = AuditEntry.objects.filter(new_values__has_key="invoice").order_by("id")
    return [tuple(getattr(entry, name) for name in names) for entry in entries]


class TestTime:
    def test_day_is_noted_signed_and_audited(self, invoice: OpenInvoice) -> None:
        case = dunning.give_until(invoice, days(5), **WHO)
        assert (case.extended_until_on, case.extended_by, case.extension_reason) == (days(5), "ada", "Ticket 4711")
        assert case.owner == "ada"
        assert audited("action", "actor", "reason", "row_id") == [
            ("extend_payment", "ada", "Ticket 4711", str(invoice.subscription_id))
        ]

    def test_later_day_replaces_the_earlier_and_leaves_the_owner(self, invoice: OpenInvoice) -> None:
        dunning.give_until(invoice, days(5), **WHO)
        case = dunning.give_until(invoice, days(2), actor="bob", reason="Pays sooner")
        assert (case.extended_until_on, case.extended_by, case.owner) == (days(2), "bob", "ada")
        assert PaymentCase.objects.count() == 1

    @pytest.mark.parametrize("number", [-1, 61])
    def test_day_that_is_past_or_too_far_is_refused(self, invoice: OpenInvoice, number: int) -> None:
        with pytest.raises(Refused, match=f"{days(number)} is not within the next 60 days"):
            dunning.give_until(invoice, days(number), **WHO)
        assert (PaymentCase.objects.count(), audited("action")) == (0, [])

    @pytest.mark.parametrize("number", [0, 60])
    def test_first_and_last_day_are_taken(self, invoice: OpenInvoice, number: int) -> None:
        assert dunning.give_until(invoice, days(number), **WHO).extended_until_on == days(number)

    def test_it_outlives_the_row_that_goes_and_comes_again(self, invoice: OpenInvoice) -> None:
        dunning.give_until(invoice, days(5), **WHO)
        stripe_id, subscription = invoice.stripe_invoice_id, invoice.subscription
        invoice.delete()
        again = factories.open_invoice(subscription, stripe_invoice_id=stripe_id)
        assert dunning.take_over(again, actor="bob", reason="Ada is away").extended_until_on == days(5)

    @pytest.mark.parametrize("became", ["gone", "uncollectible"])
    def test_what_is_not_owed_is_refused(self, invoice: OpenInvoice, became: str) -> None:
        if became == "gone":
            OpenInvoice.objects.all().delete()
        else:
            OpenInvoice.objects.update(status=became)
        for act in (
            lambda: dunning.give_until(invoice, days(1), **WHO),
            lambda: dunning.take_over(invoice, **WHO),
            lambda: payment_links.send(invoice, **WHO),
        ):
            with pytest.raises(Refused, match=r"there is nothing to ask for\.$"):
                act()
        assert (PaymentCase.objects.count(), len(mail.outbox), audited("action")) == (0, 0, [])


class TestOwner:
    def test_who_takes_over_is_the_owner(self, invoice: OpenInvoice) -> None:
        dunning.take_over(invoice, **WHO)
        assert dunning.take_over(invoice, actor="bob", reason="Ada is away").owner == "bob"
        assert [values["before"] for (values,) in audited("new_values")] == [None, "ada"]

    def test_who_is_it_already_is_refused(self, invoice: OpenInvoice) -> None:
        dunning.take_over(invoice, **WHO)
        with pytest.raises(Refused, match=r"ada looks after A1B2C3D4-\d+ already"):
            dunning.take_over(invoice, **WHO)


class TestLink:
    def test_customer_gets_one_message_with_the_link(self, invoice: OpenInvoice) -> None:
        reminder = payment_links.send(invoice, token=TOKEN, **WHO)
        (sent,) = mail.outbox
        assert (sent.to, sent.subject) == ([invoice.user.email], f"Invoice {invoice.number}: 29.00 USD to pay")
        assert "https://invoice.stripe.com/i/1" in str(sent.body)
        assert sent.extra_headers["Message-ID"].startswith(f"<{reminder.pk}@")
        assert (reminder.state, reminder.actor, reminder.reason) == ("sent", "ada", "Ticket 4711")
        assert audited("action") == [("send_payment_link",)]

    def test_bank_s_word_is_not_told_to_the_customer(self) -> None:
        payment_links.send(factories.open_invoice(decline_code="fraudulent"), **WHO)
        assert "fraud" not in str(mail.outbox[0].body).lower()

    def test_same_form_sends_nothing_twice(self, invoice: OpenInvoice) -> None:
        payment_links.send(invoice, token=TOKEN, **WHO)
        with pytest.raises(Notice, match="was sent, once"):
            payment_links.send(invoice, token=TOKEN, **WHO)
        assert len(mail.outbox) == 1

    def test_two_within_an_hour_are_refused(self, invoice: OpenInvoice) -> None:
        payment_links.send(invoice, **WHO)
        with pytest.raises(Refused, match="wait an hour between two"):
            payment_links.send(invoice, actor="bob", reason="Asked for it")
        PaymentReminder.objects.update(asked_at=ago("61 minutes"))
        payment_links.send(invoice, actor="bob", reason="Asked for it")
        assert len(mail.outbox) == 2

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"hosted_invoice_url": None}, "Stripe has no page on which"),
            ({"hosted_invoice_url": "javascript:alert(1)"}, "Stripe has no page on which"),
            ({"user_id": None}, "The customer has no e-mail address"),
        ],
    )
    def test_without_a_page_or_an_address_it_is_refused(self, values: dict[str, Any], message: str) -> None:
        if "user_id" in values:
            row = factories.subscription(factories.customer(email=None, name="Anonymous"), status="past_due")
            invoice = factories.open_invoice(row)
        else:
            invoice = factories.open_invoice(**values)
        with pytest.raises(Refused, match=message):
            payment_links.send(invoice, **WHO)
        assert PaymentReminder.objects.count() == 0

    def test_line_breaks_in_a_number_stay_out_of_the_subject(self) -> None:
        payment_links.send(factories.open_invoice(number="A1\r\nBcc: eve@example.com"), **WHO)
        assert mail.outbox[0].subject == "Invoice A1 Bcc: eve@example.com: 29.00 USD to pay"

    def test_copy_of_production_writes_to_nobody(self, invoice: OpenInvoice, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(installation, "is_production", lambda: False)
        with pytest.raises(Refused, match="This database is a copy"):
            payment_links.send(invoice, **WHO)
        assert (len(mail.outbox), PaymentReminder.objects.count()) == (0, 0)


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*args: Any, **options: Any) -> Any:
        raise error

    return fail


class TestMailServer:
    def test_it_is_written_before_it_is_sent(self, invoice: OpenInvoice, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[str] = []
        monkeypatch.setattr(
            EmailBackend, "open", lambda backend: seen.append(PaymentReminder.objects.get().state), raising=False
        )
        payment_links.send(invoice, **WHO)
        assert seen == ["asked"]

    @pytest.mark.parametrize(
        ("method", "error", "said"),
        [
            ("open", ConnectionRefusedError(), "the mail server was not reached"),
            ("open", SMTPServerDisconnected(), "the mail server was not reached"),
            ("send_messages", SMTPRecipientsRefused({"a@b": (550, b"no")}), "refuses the address, 550"),
        ],
    )
    def test_what_was_not_taken_is_refused_and_may_be_sent_again(
        self, invoice: OpenInvoice, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception, said: str
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(EmailBackend, method, failing(error))
            with pytest.raises(Refused, match=said) as refused:
                payment_links.send(invoice, token=TOKEN, **WHO)
        assert not isinstance(refused.value, Notice)
        assert PaymentReminder.objects.get().state == "refused"
        assert [action for (action,) in audited("action")] == ["send_payment_link", "send_payment_link_not_made"]
        payment_links.send(invoice, **WHO)
        assert len(mail.outbox) == 1

    def test_what_may_have_been_taken_is_not_sent_again(
        self, invoice: OpenInvoice, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(EmailBackend, "send_messages", failing(SMTPServerDisconnected()))
            with pytest.raises(Notice, match="it may have arrived"):
                payment_links.send(invoice, token=TOKEN, **WHO)
        for token, told in ((TOKEN, "may have arrived"), ("", "wait an hour")):
            with pytest.raises(Refused, match=told):
                payment_links.send(invoice, token=token, **WHO)
        assert len(mail.outbox) == 0
