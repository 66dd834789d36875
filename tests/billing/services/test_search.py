"""The search box's answers, and that it reads by index only."""

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.models import User
from billing.services import search
from tests.support import factories, plans

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return factories.customer(
        email="Ada.Lovelace@example.com",
        name="Ada Lovelace",
        stripe_customer_id="cus_NffrFeUfNV2Hib",
        cognito_user_id=str(uuid.uuid4()),
    )


def found(text: str) -> list[Any]:
    return [hit.found for hit in search.find(text)]


def test_customer_is_found_by_everything_support_may_have(ada: User) -> None:
    factories.customer(email="grace@example.com", name="Grace Hopper")
    subscription = factories.subscription(ada)
    payment = factories.payment(ada)
    issued = factories.issued_key(ada)
    for text in (
        "ada.lovelace@example.com",
        "ADA.LOV",
        "ada",
        "lovelace",  # in the middle of both
        "  Ada Lovelace ",
        str(ada.pk),
        str(ada.pk).upper(),
        ada.cognito_user_id,
        "cus_NffrFeUfNV2Hib",
        subscription.stripe_subscription_id,
        str(subscription.pk),
        payment.stripe_invoice_id,
        payment.stripe_charge_id,
        payment.stripe_payment_intent_id,
        issued.key.key_prefix,
        issued.key.key_prefix[:-2],
        issued.raw_key,
        str(issued.key.pk),
    ):
        assert found(str(text)) == [ada], text


def test_event_is_found_by_its_id() -> None:
    event = factories.webhook_event(stripe_event_id="evt_1NG8Du")
    assert found("evt_1NG8Du") == [event]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "cus_nffrfeufnv2hib",
        "cus_",
        "nobody@",
        "%",
        "_",
        "%%%",
        "\0",
        "x" * 5000,
        "'; --",
        str(uuid.UUID(int=7)),
    ],
)
def test_what_names_nobody_finds_nobody(text: str, ada: User) -> None:
    assert found(text) == []


def test_words_are_limited_and_what_begins_with_them_comes_first() -> None:
    for number in range(30):
        factories.customer(email=f"ann{number}@example.com")
    assert len(found("ann")) == search.LIMIT
    inside = factories.customer(email="x.zoe@example.com")
    begins = factories.customer(email="zoe@example.com")
    assert found("zoe") == [begins, inside]


def test_no_search_reads_a_whole_table() -> None:
    plans.fill_tables_of_customers()
    for text in (
        "c",
        "customer",
        "customer19",
        "mer 1999",
        "zzz",
        "cus_77",
        "sub_77",
        "in_cus_77",
        "ch_cus_77",
        "pi_77",
        "glyph_sk_live_",
        "glyph_sk_live_77",
        str(uuid.uuid4()),
    ):
        with CaptureQueriesContext(connection) as queries:
            search.find(text)
        selects = plans.selects(queries)
        assert selects
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")  # as the search does
        for sql in selects:
            assert plans.read_whole(sql) == set(), (text, sql)
