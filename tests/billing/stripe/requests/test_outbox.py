"""Each change at Stripe is asked for once, and what is said and written of it is true, whatever gets lost."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import connection, transaction

from billing.models import StripeRequest, User
from billing.services import customers, payments, subscriptions
from billing.stripe import gateway
from billing.stripe.requests import settling
from billing.stripe.requests.acts import ACTS
from demo.stripe.server import StripeServer
from glyphforge.audit.models import AuditEntry
from glyphforge.errors import Notice, Refused
from tests.support import factories
from tests.support.event_stream import EventStream, deliver_new
from tests.support.sql import query
from tests.support.stripe_acts import ALIKE, ASKS, Ask

pytestmark = pytest.mark.django_db
WHO = {"actor": "ada", "reason": "ticket 4711"}


@pytest.fixture(params=ASKS, ids=str)
def act(request: pytest.FixtureRequest, stream: EventStream) -> Ask:
    request.param.before(stream)
    return request.param


def audited(kind: str) -> int:
    return AuditEntry.objects.filter(action=kind, actor="ada", reason="ticket 4711").count()


def lose(server: StripeServer, what: Any, changes: Callable[[str, str], bool] = ASKS[0].changes) -> None:
    server.loses = lambda method, path: what if changes(method, path) else None


def later(minutes: int) -> None:
    query("UPDATE stripe_requests SET asked_at = asked_at - %s * interval '1 minute'", minutes)


@pytest.mark.parametrize("act", [*ASKS, *ALIKE], ids=str, indirect=True)
def test_done_request_says_who_why_and_what_with_one_audit_row(stream: EventStream, act: Ask) -> None:
    request = act.ask(stream, **WHO)
    assert act.made(stream)
    assert (request.state, request.kind, request.actor, request.reason) == ("done", act.kind, "ada", "ticket 4711")
    entry = AuditEntry.objects.get(action=act.kind)
    assert (entry.pk, entry.actor, entry.reason) == (request.audit_id, "ada", "ticket 4711")
    assert entry.new_values["stripe_request"] == str(request.pk)
    assert (entry.table_name, entry.row_id) == (ACTS[act.kind].table, str(request.row_id))


@pytest.mark.parametrize("act", [*ASKS, *ALIKE], ids=str, indirect=True)
def test_lost_answer_is_found_at_stripe_at_once(stream: EventStream, act: Ask, stripe_server: StripeServer) -> None:
    lose(stripe_server, "answer", act.changes)
    request = act.ask(stream, **WHO)
    assert (request.state, request.answer) == ("done", settling.SEEN)
    assert (act.made(stream), audited(act.kind)) == (True, 1)


def test_what_may_have_been_made_is_told_so_and_found_by_the_sweep(
    stream: EventStream, act: Ask, stripe_server: StripeServer
) -> None:
    made = []

    def lost(method: str, path: str) -> Any:
        if act.changes(method, path):
            made.append(path)
        return "answer" if made else None

    stripe_server.loses = lost
    with pytest.raises(Notice, match="It may have been made: looking at Stripe") as told:
        act.ask(stream, **WHO)
    assert "Nothing" not in str(told.value)
    assert (StripeRequest.objects.get().state, audited(act.kind)) == ("unknown", 1)
    stripe_server.loses = None
    assert settling.sweep() == 0  # it may be on its way yet
    later(minutes=2)
    assert settling.sweep() == 1
    assert (StripeRequest.objects.get().state, act.made(stream), audited(act.kind)) == ("done", True, 1)
    assert settling.sweep() == 0


def test_what_never_arrived_is_not_made_once_it_is_sure(
    stream: EventStream, act: Ask, stripe_server: StripeServer
) -> None:
    lose(stripe_server, "request", act.changes)
    with pytest.raises(Notice, match="It may have been made"):
        act.ask(stream, token="of-the-first-form", **WHO)
    with pytest.raises(Refused, match=r"not known yet what became of .*, asked for by ada"):
        act.ask(stream, token="of-another-form", **WHO)
    with pytest.raises(Notice, match=r"This form was sent before, .* It may have been made"):
        act.ask(stream, token="of-the-first-form", **WHO)
    later(minutes=2)
    assert settling.sweep() == 0
    later(minutes=4)
    assert settling.sweep() == 1
    request = StripeRequest.objects.get()
    assert (request.state, request.answer, act.made(stream)) == ("refused", settling.UNSEEN, False)
    correction = AuditEntry.objects.get(action=f"{act.kind}_not_made")
    assert (correction.reason, correction.new_values["stripe_request"]) == (settling.UNSEEN, str(request.pk))

    stripe_server.loses = None
    assert act.ask(stream, token="of-the-first-form", **WHO).state == "done"
    assert act.made(stream)


def test_event_settles_what_may_have_been_made(stream: EventStream, act: Ask, stripe_server: StripeServer) -> None:
    stripe_server.loses = lambda method, path: "answer" if act.changes(method, path) or act.made(stream) else None
    with pytest.raises(Notice):
        act.ask(stream, **WHO)
    stripe_server.loses = None
    deliver_new(stream.world)
    assert (StripeRequest.objects.get().state, audited(act.kind)) == ("done", 1)


def test_event_that_comes_before_the_answer_changes_nothing_of_it(
    stream: EventStream, act: Ask, stripe_server: StripeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = type(ACTS[act.kind]).make

    def made_and_announced(*arguments: Any) -> str:
        answer = make(*arguments)
        deliver_new(stream.world)
        assert StripeRequest.objects.get().answer == settling.SEEN
        return answer

    monkeypatch.setattr(type(ACTS[act.kind]), "make", made_and_announced)
    request = act.ask(stream, **WHO)
    assert (request.state, request.answer, audited(act.kind)) == ("done", "", 1)


class KilledError(BaseException):
    """What a killed process gets: nothing more is done, nothing of its transaction stays."""


def killed_at(number: int, action: Callable[[], object]) -> bool:
    """Whether `action` was killed before its statement of that number; what it refuses is no matter."""
    count = 0

    def kill(execute: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == number:
            raise KilledError
        return execute(*arguments)

    try:
        with connection.execute_wrapper(kill):
            action()
    except KilledError:
        return True
    return False


@pytest.mark.parametrize("lost", [None, "request", "answer"])
def test_process_killed_between_any_two_statements_does_nothing_twice_and_nothing_untold(
    stream: EventStream, stripe_server: StripeServer, lost: Any
) -> None:
    def asked_and_lost(method: str, path: str) -> Any:
        return lost if method == "POST" else None

    number, was_killed, refunded = 0, True, 0
    while was_killed:
        number += 1
        stripe_server.loses = asked_and_lost
        token = f"confirmation-number-{number}"

        def press(token: str = token) -> None:
            with suppress(Refused):
                payments.refund(stream.payment, amount_cents=1, token=token, **WHO)

        was_killed = killed_at(number, press)
        press()  # the page is loaded again, and the form with it
        stripe_server.loses = None
        later(minutes=6)
        settling.sweep()
        deliver_new(stream.world)
        made = stream.charge["amount_refunded"] - refunded
        refunded += made
        of_this = StripeRequest.objects.filter(idempotency_key__startswith=token)
        assert made == of_this.filter(state="done").count() <= 1, number
        assert not of_this.filter(state__in=StripeRequest.OPEN).exists()
        told = {
            entry.new_values["stripe_request"]: entry.action for entry in AuditEntry.objects.filter(action="refund")
        }
        assert len(told) == AuditEntry.objects.filter(action="refund").count()
        for request in of_this:
            untrue = AuditEntry.objects.filter(
                action="refund_not_made", new_values__stripe_request=str(request.pk)
            ).count()
            assert (str(request.pk) in told) - untrue == (request.state == "done"), number
    assert number > 10
    assert stream.payment.refunded_cents == refunded
    assert (refunded > 10) is (lost != "request")


def test_link_killed_between_any_two_statements_is_whole_on_both_sides(stream: EventStream) -> None:
    number, was_killed = 0, True
    while was_killed:
        number += 1
        user = factories.customer()
        customer = stream.copy_of(stream.customer, id=f"cus_copy{number}", metadata={})

        def press(user: User = user, customer_id: str = customer["id"]) -> None:
            with suppress(Refused):
                customers.link_customer(customer_id, user, **WHO)

        was_killed = killed_at(number, press) and not StripeRequest.objects.filter(
            stripe_object_id=customer["id"], state="done"
        )
        press()
        later(minutes=6)
        settling.sweep()
        assert User.objects.get(stripe_customer_id=customer["id"]) == user
        assert stream.world.objects[customer["id"]]["metadata"] == {"user_id": str(user.pk)}
        assert StripeRequest.objects.get(stripe_object_id=customer["id"]).state == "done"
        audits = AuditEntry.objects.filter(row_id=str(user.pk), reason="ticket 4711")
        assert [entry.action for entry in audits.exclude(action="update")] == ["link_customer"], number
    assert number > 10


def test_answer_that_comes_after_all_is_told_again(stream: EventStream, stripe_server: StripeServer) -> None:
    lose(stripe_server, "request")
    with pytest.raises(Notice):
        payments.refund(stream.payment, amount_cents=900, **WHO)
    later(minutes=6)
    settling.sweep()
    request = settling.settle(StripeRequest.objects.get(state="refused"), StripeRequest.State.DONE, answer_id="re_1")
    assert request.state == "done"
    actions = AuditEntry.objects.filter(new_values__stripe_request=str(request.pk)).order_by("id")
    assert [entry.action for entry in actions] == ["refund", "refund_not_made", "refund"]


def test_two_confirmations_of_what_is_not_known_here_yet_are_one_refund(stream: EventStream) -> None:
    payments.refund(stream.payment, amount_cents=1000, token="of-the-first-form", **WHO)
    with pytest.raises(Refused, match=r"Stripe has refunded 10.00 USD of ch_.*, not 0.00 USD as here"):
        payments.refund(stream.payment, amount_cents=1000, token="of-another-form", **WHO)
    deliver_new(stream.world)
    payments.refund(stream.payment, amount_cents=1000, token="of-another-form", **WHO)
    assert stream.charge["amount_refunded"] == 2000
    assert audited("refund") == 2


def test_what_is_lost_is_not_sent_again_before_stripe_was_looked_at(
    stream: EventStream, act: Ask, stripe_server: StripeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "NETWORK_RETRIES", 1)
    gateway.configure()
    lose(stripe_server, "request", act.changes)
    with pytest.raises(Notice):
        act.ask(stream, **WHO)
    assert sum(act.changes(*asked.split(" ")) for asked in stripe_server.requests) == 1


def test_refusal_is_said_in_stripes_words_without_an_audit_row_and_leaves_the_form_free(
    stream: EventStream, act: Ask, stripe_server: StripeServer
) -> None:
    refusal: Any = (400, {"error": {"message": "The schedule says no.", "type": "invalid_request_error"}}, {})
    stripe_server.intercept = lambda method, path: refusal if act.changes(method, path) else None
    with pytest.raises(Refused, match=r"The schedule says no\.$"):
        act.ask(stream, token="of-the-first-form", **WHO)
    assert StripeRequest.objects.get().state == "refused"
    assert not AuditEntry.objects.filter(reason="ticket 4711").exists()
    stripe_server.intercept = None
    assert act.ask(stream, token="of-the-first-form", **WHO).state == "done"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_stripe_that_has_no_time_is_asked_again_by_the_same_form(
    stream: EventStream, stripe_server: StripeServer, method: str
) -> None:
    busy: Any = (429, {"error": {"message": "slow down"}}, {})
    stripe_server.intercept = lambda asked, path: busy if asked == method else None
    with pytest.raises(Refused, match=r"rate limiting .* it was not done; try again"):
        payments.refund(stream.payment, token="of-the-first-form", **WHO)
    assert audited("refund") == 0
    stripe_server.intercept = None
    payments.refund(stream.payment, token="of-the-first-form", **WHO)
    assert stream.charge["amount_refunded"] == 2900


@pytest.mark.parametrize("act", [each for each in ASKS if each.kind != "credit"], ids=str, indirect=True)
def test_what_stripe_shows_already_is_said_and_not_asked_for(stream: EventStream, act: Ask) -> None:
    act.ask(stream, token="of-the-first-form", **WHO)
    known = len(stream.world.events)
    with pytest.raises(Refused, match=r"Sync from Stripe brings it now"):
        act.ask(stream, token="of-another-form", **WHO)
    assert len(stream.world.events) == known
    assert audited(act.kind) == 1


def test_refund_without_our_mark_that_could_be_ours_counts_as_ours(
    stream: EventStream, stripe_server: StripeServer
) -> None:
    lose(stripe_server, "request")
    with pytest.raises(Notice):
        payments.refund(stream.payment, amount_cents=900, **WHO)
    stripe_server.loses = None
    older, _, like_it = (
        stream.world.refund({"charge": stream.charge["id"], "amount": amount}) for amount in (900, 999, 900)
    )
    stream.world.objects[older["id"]]["created"] -= 3600
    assert settling.look(StripeRequest.objects.get()).answer_id == like_it["id"]
    # That one is taken.
    another = factories.stripe_request(
        kind="refund", stripe_object_id=stream.charge["id"], parameters={"amount_cents": 900, "currency": "usd"}
    )
    assert settling.look(another).state == "unknown"


def test_long_reason_is_cut_as_in_the_audit_log(stream: EventStream) -> None:
    request = subscriptions.cancel_subscription(stream.row, actor="ada", reason="why " * 3000)
    assert AuditEntry.objects.get(pk=request.audit_id).reason == request.reason == ("why " * 3000)[:2000]


def test_request_is_not_made_inside_a_transaction_that_could_roll_it_back(stream: EventStream, act: Ask) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError):
        act.ask(stream, **WHO)
    assert not act.made(stream)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((403, {"error": {"message": "This key may not.", "type": "invalid_request_error"}}, {}), "This key may not"),
        ((200, {"object": "list", "data": [7], "has_more": False, "url": "/v1/refunds"}, {}), "'int' object"),
    ],
)
def test_one_request_that_cannot_be_settled_stops_no_other(
    stream: EventStream, stripe_server: StripeServer, answer: Any, said: str
) -> None:
    lose(stripe_server, "request")
    for ask in (ASKS[0], ASKS[1]):
        with pytest.raises(Notice):
            ask.ask(stream, **WHO)
    later(minutes=6)
    stripe_server.intercept = lambda method, path: answer if path == "/v1/refunds" else None
    with pytest.raises(settling.LeftOut, match=f"1 left out: Refund ch_.*{said}") as left:
        settling.sweep()
    assert left.value.done == 1
    assert StripeRequest.objects.get(kind="cancel_at_period_end").state == "refused"
    assert StripeRequest.objects.get(kind="refund").state == "unknown"


def test_every_kind_has_an_act() -> None:
    assert set(StripeRequest.Kind) == ACTS.keys()
