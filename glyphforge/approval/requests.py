"""Asking for what needs another person, deciding it, and saying that it was done.

The database refuses what these functions refuse, whoever writes: that one decides their own request, a stale one, or
one that was decided. Who may ask and who may decide is for the pages and commands.
"""

from django.apps import apps
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django_q.tasks import async_task

from glyphforge.approval.models import Approval
from glyphforge.audit import acting_as
from glyphforge.audit.context import LONGEST
from glyphforge.audit.masking import mask
from glyphforge.errors import Refused
from glyphforge.text import cut, storable

State = Approval.State


def ask(kind: str, subject: object, summary: str, *, actor: str, reason: str) -> Approval:
    """Ask for what another person has to decide, and return the request; the one that is open already, if it is.

    One that went stale meanwhile is withdrawn first. Refuses an empty reason.
    """
    why = _reason(reason)
    with acting_as(actor=actor, reason=why), transaction.atomic():
        if known := current(kind, subject):
            return known
        stale = Approval.objects.filter(kind=kind, subject=str(subject), state=State.ASKED)
        stale.update(state=State.WITHDRAWN)
        try:
            with transaction.atomic():
                request = Approval.objects.create(
                    kind=kind,
                    subject=str(subject),
                    summary=cut(storable(summary), 2000),
                    asked_by=cut(actor, LONGEST["app.actor"]),
                    reason=why,
                )
        except IntegrityError:
            # Asked for twice at once.
            return Approval.objects.get(kind=kind, subject=str(subject), state__in=Approval.OPEN)
        request.refresh_from_db()
        return request


def current(kind: str, subject: object) -> Approval | None:
    """The request that waits or was approved; None where there is none, or a stale one that nobody decided."""
    wanted = Approval.objects.filter(kind=kind, subject=str(subject), state__in=Approval.OPEN)
    return wanted.exclude(state=State.ASKED, expires_at__lte=Now()).first()


def approve(request: Approval, *, actor: str, reason: str) -> Approval:
    """Approve what another person asked for; what it starts is queued with the decision. Refuses as `decide`."""
    with transaction.atomic():
        decided = _decide(request, State.APPROVED, actor=actor, reason=reason)
        task = _tasks().get(decided.kind)
        if task:
            async_task(task, str(decided.pk), task_name=f"{decided.kind} {decided.pk}")
    return decided


def refuse(request: Approval, *, actor: str, reason: str) -> Approval:
    """Refuse what another person asked for. Refuses as `decide`."""
    return _decide(request, State.REFUSED, actor=actor, reason=reason)


def withdraw(request: Approval, *, actor: str, reason: str) -> Approval:
    """Take back a request that is not decided yet."""
    with acting_as(actor=actor, reason=_reason(reason)), transaction.atomic():
        row = _undecided(request)
        row.state = State.WITHDRAWN
        row.save(update_fields=["state"])
        return row


def done(request: Approval) -> None:
    """Say that what was approved is done; doing so again changes nothing."""
    Approval.objects.filter(pk=request.pk, state=State.APPROVED).update(state=State.DONE, done_at=Now())


def _decide(request: Approval, state: State, *, actor: str, reason: str) -> Approval:
    """The request, decided. Refuses who asked for it, one that is decided or stale already, and an empty reason."""
    why = _reason(reason)
    with acting_as(actor=actor, reason=why), transaction.atomic():
        row = _undecided(request)
        if Approval.objects.filter(pk=row.pk, expires_at__lte=Now()).exists():
            raise Refused(f"The request is stale since {row.expires_at:%Y-%m-%d %H:%M} UTC: it has to be asked anew.")
        if actor.strip().lower() == row.asked_by.strip().lower():
            raise Refused(f"{row.asked_by} asked for this: another person has to decide it.")
        changes = {"state": state, "decided_by": cut(actor, LONGEST["app.actor"]), "decision_reason": why}
        Approval.objects.filter(pk=row.pk).update(**changes, decided_at=Now())
        row.refresh_from_db()
        return row


def _undecided(request: Approval) -> Approval:
    row = Approval.objects.select_for_update().get(pk=request.pk)
    if row.state != State.ASKED:
        by = f" by {row.decided_by}" if row.decided_by else ""
        raise Refused(f"The request is {row.get_state_display().lower()}{by} already.")
    return row


def _reason(reason: str) -> str:
    why = mask(storable(reason).strip())
    if not why:
        raise Refused("A reason is needed.")
    return cut(why, LONGEST["app.reason"])


def _tasks() -> dict[str, str]:
    return {
        kind: task for config in apps.get_app_configs() for kind, task in getattr(config, "approval_kinds", {}).items()
    }
