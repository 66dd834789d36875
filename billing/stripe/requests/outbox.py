"""Asking Stripe to change something: once per confirmation, and never untold.

What is asked for, by whom and why is committed before Stripe is called, under a key that is made of the confirmation;
`billing.stripe.requests.settling` writes what became of it. A process may be killed anywhere between.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction

from billing.models import StripeRequest, User
from billing.stripe.errors import PermanentError, TransientError, UnansweredError
from billing.stripe.requests.acts import ACTS
from billing.stripe.requests.settling import look, settle
from glyphforge.audit import acting_as
from glyphforge.audit.context import LONGEST
from glyphforge.errors import Notice, Refused
from glyphforge.text import cut

logger = logging.getLogger(__name__)

State = StripeRequest.State
# As `glyphforge.admin.operations` makes them; anything else is no token.
TOKEN = re.compile(r"[\w-]{16,100}", re.ASCII)
# Presses that come at once meet at the unique indexes, and then see each other.
TRIES = 3


@dataclass(frozen=True)
class Intent:
    """What is to be asked for: a kind of `StripeRequest`, of which object at Stripe, whose our row is `row_id`.

    `parameters` are what the kind's act reads, and the audit row says; never a secret.
    """

    kind: StripeRequest.Kind
    stripe_object_id: str
    row_id: uuid.UUID
    user: User | None
    parameters: dict[str, Any] = field(default_factory=dict)


def ask(intend: Callable[[], Intent], *, actor: str, reason: str, token: str = "") -> StripeRequest:
    """Ask Stripe for what `intend` returns; returns the request once it is done.

    `intend` is called in the transaction that writes the request, and raises `Refused` for what may not be asked.
    `token` is the confirmation's: a second call with it asks for nothing. Without one, what adds up (a refund) counts
    as the same if actor, reason and content are.

    Raises `Notice` when the answer is lost or this was asked before, `Refused` with Stripe's or our reason when nothing
    was done, RuntimeError inside a transaction, which could roll the request back after Stripe was called.
    """
    with acting_as(actor=actor, reason=reason):
        request, is_new = _written(intend, actor=actor, reason=reason, token=token)
        if is_new:
            return carry_out(request)
        raise Notice(_told_again(request))


def recall(token: str) -> str | None:
    """What became of the request that a confirmation made before; None where it made none, or a refused one."""
    request = find(token) if TOKEN.fullmatch(token) else None
    return _told_again(request) if request else None


def _written(intend: Callable[[], Intent], *, actor: str, reason: str, token: str) -> tuple[StripeRequest, bool]:
    """The request of this confirmation, and whether it is new."""
    token = token if TOKEN.fullmatch(token) else ""
    tries = TRIES
    while True:
        try:
            with transaction.atomic(durable=True):
                if token and (known := find(token)):
                    return known, False
                intent = intend()
                mark = token or _mark(intent, actor, reason)
                if not token and (known := find(mark)):
                    return known, False
                if earlier := _open(intent.stripe_object_id):
                    if earlier.idempotency_key.rpartition(".")[0] == mark:
                        return earlier, False  # the same press, written since it was looked for
                    raise _still_open(earlier)
                return write(intent, actor=actor, reason=reason, key=_key(mark, len(_requests(mark)) + 1)), True
        except IntegrityError:
            tries -= 1
            if not tries:
                raise


def _mark(intent: Intent, actor: str, reason: str) -> str:
    """What stands for the token where none came."""
    if not ACTS[intent.kind].adds:
        return uuid.uuid4().hex
    content = [intent.kind, intent.stripe_object_id, intent.parameters, actor, reason]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _requests(token: str) -> list[StripeRequest]:
    """What was asked with a token, oldest first: a refused request leaves it free for another."""
    found: list[StripeRequest] = []
    while request := StripeRequest.objects.filter(idempotency_key=_key(token, len(found) + 1)).first():
        found.append(request)
    return found


def _key(token: str, number: int) -> str:
    return f"{token}.{number}"


def find(token: str) -> StripeRequest | None:
    """The request that was made of a confirmation, unless it was refused; None without one."""
    return next((request for request in _requests(token) if request.state != State.REFUSED), None)


def _open(stripe_object_id: str) -> StripeRequest | None:
    """The request about the object of which it is not known yet what became; there is one at most."""
    return StripeRequest.objects.filter(stripe_object_id=stripe_object_id, state__in=StripeRequest.OPEN).first()


def require_none_open(stripe_object_id: str) -> None:
    """Refuse, naming it, while it is not known what became of an earlier request about the object."""
    if earlier := _open(stripe_object_id):
        raise _still_open(earlier)


def _still_open(earlier: StripeRequest) -> Refused:
    return Refused(
        f"It is not known yet what became of {_named(earlier)}: until Stripe shows it, nothing else is asked"
        f" of {earlier.stripe_object_id}."
    )


def write(intent: Intent, *, actor: str, reason: str, key: str = "", audit_id: int | None = None) -> StripeRequest:
    """Write a request, to be carried out once it is committed.

    For a change of ours that goes with a change at Stripe: it is written in the transaction of the first, whose audit
    row `audit_id` is. Raises IntegrityError while another about the object is open.
    """
    request = StripeRequest.objects.create(
        kind=intent.kind,
        stripe_object_id=intent.stripe_object_id,
        row_id=intent.row_id,
        user=intent.user,
        parameters=intent.parameters,
        idempotency_key=key or uuid.uuid4().hex,
        actor=cut(actor, LONGEST["app.actor"]),
        reason=cut(reason, LONGEST["app.reason"]),
        audit_id=audit_id,
    )
    request.refresh_from_db()
    return request


def carry_out(request: StripeRequest) -> StripeRequest:
    """Ask Stripe for what was written and committed; returns the request once it is done, and raises as `ask`."""
    act = ACTS[request.kind]
    try:
        prepared = act.prepare(request)
    except (Refused, TransientError, PermanentError) as error:
        raise _refused(request, error) from error
    try:
        answer_id = act.make(request, prepared)
    except UnansweredError as error:
        return _looked_up(request, error)
    except (TransientError, PermanentError) as error:
        raise _refused(request, error) from error
    return settle(request, State.DONE, answer_id=answer_id)


def _looked_up(request: StripeRequest, error: UnansweredError) -> StripeRequest:
    request = _seen(settle(request, State.UNKNOWN, answer=str(error)))
    if request.state == State.DONE:
        return request
    raise Notice(f"{error} {_may_have_been_made(request)}") from error


def _seen(request: StripeRequest) -> StripeRequest:
    """An unknown request after a look at Stripe, if that can be had now."""
    try:
        return look(request)
    except (TransientError, PermanentError):
        logger.warning("%s: Stripe does not say what became of it", request, exc_info=True)
        return request


def _refused(request: StripeRequest, error: Exception) -> Refused:
    """Nothing was done, and `error` says why."""
    settle(request, State.REFUSED, answer=str(error))
    return Refused(
        f"{error} So it was not done; try again in a minute." if isinstance(error, TransientError) else str(error)
    )


def _named(request: StripeRequest) -> str:
    return f"{ACTS[request.kind].words(request)}, asked for by {request.actor} on {request.asked_at:%Y-%m-%d %H:%M} UTC"


def _may_have_been_made(request: StripeRequest) -> str:
    return (
        f"It may have been made: looking at Stripe for {ACTS[request.kind].words(request)}, every minute. Until Stripe"
        " shows what became of it, do not ask again; the page Requests to Stripe says when it is settled."
    )


def _told_again(request: StripeRequest) -> str:
    """What a second press of one confirmation is told; an answer that was lost is looked for."""
    if request.state == State.UNKNOWN:
        request = _seen(request)
    if request.state == State.DONE:
        made = f" ({request.answer_id})" if request.answer_id != request.stripe_object_id else ""
        became = f"it is done, once{made}"
    elif request.state == State.REFUSED:
        became = request.answer
    else:
        became = _may_have_been_made(request)
    return f"This form was sent before, for {_named(request)}: {became}"
