"""Slots: the moments at which a cron expression, read in UTC, says that a job is due."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from croniter import CroniterBadDateError, croniter

# A scheduler's clock may be ahead of the database's by this much, and still means the slot it was started for.
LARGEST_SKEW = timedelta(minutes=2)


def is_cron(cron: str | None) -> bool:
    """Whether the expression means moments: five fields, six with seconds, or a name such as `@daily`.

    One that no day fits, such as `0 0 30 2 *`, means none.
    """
    if not cron or not croniter.is_valid(cron):
        return False
    try:
        slot_after(cron, datetime(2000, 1, 1, tzinfo=UTC))
    except CroniterBadDateError:
        return False
    return True


def slot_after(cron: str, moment: datetime) -> datetime:
    """The first slot later than `moment`, in UTC."""
    found: datetime = croniter(cron, moment.astimezone(UTC)).get_next(datetime)
    return found


def slot_before(cron: str, moment: datetime) -> datetime:
    """The last slot that is not later than `moment`, in UTC."""
    # One microsecond on, because a slot that begins this instant is due.
    found: datetime = croniter(cron, moment.astimezone(UTC) + timedelta(microseconds=1)).get_prev(datetime)
    return found


def latest_slot(cron: str, now: datetime) -> datetime:
    """The slot that a scheduler which fires `now` means: the last one due, or one that begins within the clock skew."""
    skew = min(LARGEST_SKEW, shortest_interval(cron, now) / 3)
    return slot_before(cron, now + skew)


def intervals(cron: str, now: datetime) -> list[timedelta]:
    """The pauses between the coming eleven slots, ten in all."""
    ahead = croniter(cron, now.astimezone(UTC))
    slots = [ahead.get_next(datetime) for _ in range(11)]
    return [later - earlier for earlier, later in pairwise(slots)]


def shortest_interval(cron: str, now: datetime) -> timedelta:
    """The shortest of the coming `intervals`: schedules such as `0 8,9 * * *` have uneven ones."""
    return min(intervals(cron, now))
