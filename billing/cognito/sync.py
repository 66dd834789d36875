"""Brings customers in line with the identities of the Cognito user pool.

A customer is linked to an identity by `cognito_user_id`. An address links only a customer that has no identity yet, and
only when Cognito has verified it; never one that already belongs to somebody else.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from django.db import Error, transaction
from django.db.models import Q
from django.db.models.functions import Lower

from billing.cognito.pool import Identity, Page, Pool, StaleTokenError
from billing.models import CognitoSyncCursor, User
from billing.stripe.events import inbox
from glyphforge import audit
from glyphforge.audit.models import AuditEntry
from glyphforge.database.connection import one_line
from glyphforge.database.one_row import is_about_the_row
from glyphforge.errors import Refused

ACTOR = "cognito"
FEW = 20  # up to so many customers may vanish from the pool in one pass
PLAUSIBLE_SHARE = 0.1  # and of many customers up to this share; more looks like the wrong pool


class Action(StrEnum):
    """What a pass does about one identity or customer. A conflict is left to a person, an error keeps no other."""

    CREATE = "create"
    LINK = "link"
    UPDATE = "update"
    SUSPEND = "suspend"
    REACTIVATE = "reactivate"
    CONFLICT = "conflict"
    ERROR = "error"
    NONE = "none"


@dataclass
class Step:
    """One decision: the customer it is about, with the new values already set on it, and why.

    `subject` names the customer to people; `fields` are the columns that change.
    """

    action: Action
    subject: str
    detail: str
    user: User | None = None
    fields: list[str] = field(default_factory=list)


def sync_pool(pool: Pool, *, apply: bool, restart: bool = False, allow_many: bool = False) -> Iterator[Step]:
    """Yield what there is to do, page by page; with `apply`, each page is done before its steps are yielded.

    An interrupted pass goes on where it stopped, unless `restart`. After the last page, customers whose identity is
    gone are suspended, after asking Cognito for each; refuses that when they are more than 20 and a tenth of all,
    unless `allow_many`. Raises `Refused` for whatever Cognito refuses.
    """
    seen: set[str] = set()
    for page in _pages(pool, resume=apply and not restart):
        with transaction.atomic():
            steps = [step for step in _decide(page.identities) if step.action is not Action.NONE]
            if apply:
                steps = [_tried(step) for step in steps]
                _save_cursor(pool, page)
        seen.update(identity.sub for identity in page.identities)
        yield from steps
    for step in _missing_from_pool(pool, seen, allow_many=allow_many):
        yield _tried(step) if apply else step


def ingest(identity: Identity) -> Step:
    """Create, link or update the customer of one identity, as when Cognito reports a confirmed sign-up.

    Returns what was done; an identity whose sign-up is not confirmed, or a conflict, changes nothing.
    """
    with transaction.atomic():
        (step,) = _decide([identity])
        _apply(step)
    return step


# --- Deciding -------------------------------------------------------------------------------------


def _decide(identities: Iterable[Identity]) -> list[Step]:
    """One step an identity, in two queries; later identities see what earlier ones will do."""
    identities = list(identities)
    addresses = {identity.email.lower() for identity in identities if identity.email}
    known = list(
        User.objects.select_for_update()
        .alias(address=Lower("email"))
        .filter(Q(cognito_user_id__in=[identity.sub for identity in identities]) | Q(address__in=addresses))
        .order_by("pk")
    )
    by_sub: dict[str, User] = {user.cognito_user_id: user for user in known if user.cognito_user_id}
    by_address: dict[str, User] = {user.email.lower(): user for user in known if user.email}
    steps = []
    for identity in identities:
        step = _step(identity, by_sub.get(identity.sub), by_address)
        steps.append(step)
        if step.user is not None:
            by_sub[identity.sub] = step.user
            if step.user.email:
                by_address[step.user.email.lower()] = step.user
    return steps


def _step(identity: Identity, user: User | None, by_address: dict[str, User]) -> Step:
    subject = identity.email or identity.sub
    if not identity.confirmed:
        return Step(Action.NONE, subject, "has not confirmed the sign-up")
    email_owner = by_address.get((identity.email or "").lower())
    if user is not None:
        return _update(identity, user, email_owner if email_owner is not user else None)
    if email_owner is None:
        user = User(cognito_user_id=identity.sub, email=identity.email, name=identity.name)
        user.status = User.Status.ACTIVE if identity.enabled else User.Status.SUSPENDED
        return Step(Action.CREATE, subject, f"Cognito user {identity.sub}", user)
    return _link(identity, email_owner)


def _link(identity: Identity, email_owner: User) -> Step:
    subject = str(email_owner)
    if email_owner.cognito_user_id:
        return Step(
            Action.CONFLICT, subject, f"belongs to Cognito user {email_owner.cognito_user_id}, not {identity.sub}"
        )
    if not identity.email_verified:
        return Step(Action.CONFLICT, subject, "a customer has this address, and Cognito has not verified it")
    if email_owner.status == User.Status.DELETED:
        return Step(Action.CONFLICT, subject, "the customer of this address was deleted")
    email_owner.cognito_user_id = identity.sub
    return Step(Action.LINK, subject, f"Cognito user {identity.sub}", email_owner, ["cognito_user_id"])


def _update(identity: Identity, user: User, email_owner: User | None) -> Step:
    subject = user.email or identity.sub
    if user.erased_at or user.status == User.Status.DELETED:
        return Step(Action.NONE, subject, "was erased here" if user.erased_at else "was deleted here")
    if not identity.enabled and user.status == User.Status.ACTIVE:
        user.status = User.Status.SUSPENDED
        return Step(Action.SUSPEND, subject, "disabled in Cognito", user, ["status"])
    if identity.enabled and user.status == User.Status.SUSPENDED and _suspended_by_us(user):
        user.status = User.Status.ACTIVE
        return Step(Action.REACTIVATE, subject, "enabled in Cognito", user, ["status"])
    wanted = {"email": identity.email or user.email, "name": identity.name or user.name}
    changed = [name for name, value in wanted.items() if value != getattr(user, name)]
    if "email" in changed and email_owner is not None:
        return Step(Action.CONFLICT, subject, f"another customer has the new address {identity.email}")
    if not changed:
        return Step(Action.NONE, subject, "is up to date")
    for name in changed:
        setattr(user, name, wanted[name])
    return Step(Action.UPDATE, subject, ", ".join(f"{name}: {wanted[name]}" for name in changed), user, changed)


def _suspended_by_us(user: User) -> bool:
    """Whether the suspension came from Cognito: what support has suspended, only support reactivates."""
    last = (
        AuditEntry.objects.filter(table_name="users", row_id=str(user.pk), new_values__status=User.Status.SUSPENDED)
        .order_by("-id")
        .first()
    )
    return last is not None and last.actor == ACTOR


def _missing_from_pool(pool: Pool, seen: set[str], *, allow_many: bool) -> Iterator[Step]:
    linked = User.objects.filter(cognito_user_id__isnull=False, status=User.Status.ACTIVE)
    gone = []
    for user in linked.order_by("pk"):
        try:
            if user.cognito_user_id not in seen and pool.find(str(user.cognito_user_id)) is None:
                gone.append(user)
        except ValueError as error:
            yield Step(Action.ERROR, str(user), str(error))
    if len(gone) > max(FEW, PLAUSIBLE_SHARE * linked.count()) and not allow_many:
        raise Refused(
            f"{len(gone)} customers are not in {pool.pool_id}; is it the right pool? --allow-many suspends them."
        )
    for user in gone:
        user.status = User.Status.SUSPENDED
        yield Step(Action.SUSPEND, str(user), "is no longer in the user pool", user, ["status"])


# --- Doing ----------------------------------------------------------------------------------------


def _tried(step: Step) -> Step:
    """The step, once it is done; an error in place of one that the database refuses."""
    try:
        _apply(step)
    except Error as error:
        if not is_about_the_row(error):
            raise
        return Step(Action.ERROR, step.subject, f"{step.action} was refused: {one_line(error)}")
    return step


def _apply(step: Step) -> None:
    if step.user is None or step.action in {Action.NONE, Action.CONFLICT, Action.ERROR}:
        return
    with audit.acting_as(actor=ACTOR, kind="system", reason=f"{step.action}: {step.detail}"), transaction.atomic():
        kept = User.objects.select_for_update().exclude(status=User.Status.DELETED)
        if step.action is not Action.CREATE and not kept.filter(pk=step.user.pk).exists():
            return  # deleted meanwhile, and stays so
        if step.action is Action.CREATE:
            step.user.save(force_insert=True)
        else:
            step.user.save(update_fields=step.fields)
        if step.action in {Action.LINK, Action.UPDATE}:
            # By the address that it was found by, or gave up: Stripe's events may wait for this.
            inbox.retry_waiting(step.subject.lower())


def _pages(pool: Pool, *, resume: bool) -> Iterator[Page]:
    cursor = CognitoSyncCursor.objects.filter(pk=pool.pool_id).first() if resume else None
    try:
        yield from pool.pages(cursor.page_token if cursor else None)
    except StaleTokenError:
        yield from pool.pages()


def _save_cursor(pool: Pool, page: Page) -> None:
    if page.next_token is None:
        CognitoSyncCursor.objects.filter(pk=pool.pool_id).delete()
        return
    cursor, created = CognitoSyncCursor.objects.get_or_create(
        pk=pool.pool_id, defaults={"page_token": page.next_token, "pages": 1}
    )
    if not created:
        cursor.page_token, cursor.pages = page.next_token, cursor.pages + 1
        cursor.save()
