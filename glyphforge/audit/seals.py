"""The seals of the audit log, read back: what differs from what was sealed, and what of it leaves the house.

The job `seal` makes them, by the function `seal_audit_log()`. An anchor is the last seal as two values. Somebody who
may do everything in the database can seal a forged log anew, but not so that it fits an anchor kept elsewhere.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

Rows = list[tuple[Any, ...]]

_ANCHOR = re.compile(r"\b([0-9]{1,19}):([0-9a-f]{64})\b")
# SHA-256 of nothing: what the first seal follows.
_BEGINNING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
# No transaction is open for longer, so that no row is dated so long before the seal that preceded its id.
_LONGEST_TRANSACTION = "interval '1 day'"

_CHAIN = """
    SELECT
        s.to_id, s.from_id, encode(s.previous, 'hex'), encode(s.sha256, 'hex'), s.sha256 = seal_hash(s), s.sealed_at,
        lag(s.sealed_at) OVER (ORDER BY s.to_id)
    FROM audit_seals AS s ORDER BY s.to_id
"""
# Of one seal the first row that is not as it was. A row that is gone and was older than retention has reached is none;
# neither is one whose digest leads from the sealed to the present one over what erase_audit_values() recorded.
_ROWS = f"""
    WITH sealed AS (
        SELECT r.* FROM audit_seals AS s
        CROSS JOIN unnest(s.row_ids, s.row_times, s.row_digests) AS r (id, occurred_at, digest)
        WHERE s.to_id = %(to_id)s
    ),
    found AS (
        SELECT * FROM audit_digests(%(from_id)s, %(to_id)s)
    ),
    erased AS (
        SELECT
            r.id, array_agg(r.before) AS befores, (array_agg(r.after ORDER BY r.erasure DESC))[1] AS after,
            bool_and(r.follows) AS is_chain
        FROM (
            SELECT
                c.key::bigint AS id, a.id AS erasure, decode(c.value ->> 0, 'hex') AS before,
                decode(c.value ->> 1, 'hex') AS after,
                coalesce(lag(c.value ->> 1) OVER (PARTITION BY c.key ORDER BY a.id) = c.value ->> 0, true) AS follows
            FROM audit_log AS a CROSS JOIN jsonb_each(a.new_values -> 'rows') AS c
            WHERE a.table_name = 'audit_log' AND a.action = 'erasure' AND a.id > c.key::bigint
                AND c.key::bigint BETWEEN %(from_id)s AND %(to_id)s
        ) AS r
        GROUP BY r.id
    ),
    changed AS (
        SELECT s.id FROM sealed AS s JOIN found AS f USING (id, occurred_at)
        WHERE s.digest <> f.digest AND NOT EXISTS (
            SELECT FROM erased AS e
            WHERE e.id = s.id AND e.is_chain AND s.digest = ANY (e.befores) AND e.after = f.digest
        )
    )
    SELECT coalesce(s.id, f.id) AS id, CASE
        WHEN s.id IS NULL THEN 'added'
        WHEN f.id IS NULL AND EXISTS (SELECT FROM found AS o WHERE o.id = s.id) THEN 'dated anew'
        WHEN f.id IS NULL AND EXISTS (
            SELECT FROM audit_log AS o
            WHERE o.occurred_at = s.occurred_at
                AND NOT EXISTS (
                    SELECT FROM audit_seals AS own
                    WHERE o.id BETWEEN own.from_id AND own.to_id AND o.id = ANY (own.row_ids)
                )
                AND s.digest IN (SELECT d.digest FROM audit_digests(o.id, o.id, s.id) AS d)
        ) THEN 'moved'
        WHEN f.id IS NULL THEN 'removed'
        WHEN s.id IN (SELECT c.id FROM changed AS c) THEN 'changed'
        ELSE 'back-dated'
    END
    FROM sealed AS s
    FULL JOIN found AS f ON s.id = f.id AND s.occurred_at = f.occurred_at
    WHERE (f.id IS NULL AND s.occurred_at >= %(removed_before)s)
        OR (s.id IS NULL AND NOT EXISTS (
            SELECT FROM sealed AS o LEFT JOIN found AS p USING (id, occurred_at) WHERE o.id = f.id AND p.id IS NULL
        ))
        OR s.id IN (SELECT c.id FROM changed AS c)
        OR s.occurred_at < %(sealed_before)s::timestamptz - {_LONGEST_TRANSACTION}
    ORDER BY 1 LIMIT 1
"""
# Of the rows that no seal covers yet.
_UNSEALED = f"""
    SELECT a.id, CASE WHEN a.id BETWEEN 1 AND q.last_value THEN 'back-dated' ELSE 'added' END
    FROM audit_log AS a CROSS JOIN audit_log_id_seq AS q
    WHERE (a.id > %(to_id)s OR a.id < 1)
        AND (a.id > q.last_value OR a.id < 1 OR a.occurred_at < %(sealed_at)s::timestamptz - {_LONGEST_TRANSACTION})
    ORDER BY a.id LIMIT 1
"""
_REMOVED_BEFORE = """
    SELECT coalesce(max((new_values ->> 'before')::timestamptz), '-infinity')::text FROM audit_log
    WHERE table_name = 'audit_log' AND action = 'retention'
"""


@dataclass(frozen=True)
class Anchor:
    """The last seal at some moment: the id up to which it seals, and its SHA-256 in hexadecimal digits."""

    to_id: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.to_id}:{self.sha256}"


@dataclass(frozen=True)
class Finding:
    """What is not as it was sealed: an audit row or, with `is_seal`, the seal up to the id."""

    id: int
    problem: str
    is_seal: bool = False

    def __str__(self) -> str:
        return f"{'seal up to row' if self.is_seal else 'row'} {self.id}: {self.problem}"


def anchor(using: str = DEFAULT_DB_ALIAS) -> Anchor | None:
    """The anchor of this moment; None while nothing is sealed."""
    rows = _query(using, "SELECT to_id, encode(sha256, 'hex') FROM audit_seals ORDER BY to_id DESC LIMIT 1")
    return Anchor(*rows[0]) if rows else None


def anchors_in(text: str) -> set[Anchor]:
    """Every anchor in a text, as it stands in a mail or beside a backup: `ID:SHA-256`."""
    return {Anchor(int(to_id), sha256) for to_id, sha256 in _ANCHOR.findall(text)}


def verify(since: date | None = None, anchors: Iterable[Anchor] = (), using: str = DEFAULT_DB_ALIAS) -> Finding | None:
    """The first thing that is not as it was sealed, by id; None when all is. Reads only.

    The chain of seals and the anchors are checked whole, rows those that were sealed on the day `since` (UTC) or later.
    """
    chain = _query(using, _CHAIN)
    broken = list(_chain(chain, set(anchors)))
    found = [*broken, *_rows(using, chain, since, up_to=min((finding.id for finding in broken), default=None))]
    return min(found, key=lambda finding: finding.id, default=None)


def _chain(chain: Rows, anchors: set[Anchor]) -> Iterator[Finding]:
    """What is wrong with the seals themselves: the first that does not fit, and each anchor that none fits."""
    follows, next_id = _BEGINNING, 1
    known: set[Anchor] = set()
    for to_id, from_id, previous, sha256, is_whole, *_ in chain:
        known.add(Anchor(to_id, sha256))
        if not is_whole:
            yield Finding(to_id, "the seal was changed", is_seal=True)
            break
        if (previous, from_id) != (follows, next_id):
            yield Finding(to_id, "it does not follow the seal before it: one was removed or added", is_seal=True)
            break
        follows, next_id = sha256, to_id + 1
    else:
        for missing in anchors - known:
            yield Finding(missing.to_id, f"no seal fits the anchor {missing}: it was made anew", is_seal=True)


def _rows(using: str, chain: Rows, since: date | None, *, up_to: int | None) -> Iterator[Finding]:
    """The first row that is not as its seal says, else the first of the unsealed that cannot be genuine.

    A seal that is broken itself, `up_to` its id, and those behind it say nothing of their rows.
    """
    ((removed_before,),) = _query(using, _REMOVED_BEFORE)
    to_id, sealed_at = 0, None
    for to_id, from_id, _, _, _, sealed_at, sealed_before in chain:
        if to_id == up_to:
            return
        if since is not None and sealed_at.date() < since:
            continue
        values = {
            "to_id": to_id,
            "from_id": from_id,
            "removed_before": removed_before,
            "sealed_before": sealed_before,
        }
        for finding in _query(using, _ROWS, values):
            yield Finding(*finding)
            return
    for finding in _query(using, _UNSEALED, {"to_id": to_id, "sealed_at": sealed_at}):
        yield Finding(*finding)


def _query(using: str, statement: str, values: dict[str, Any] | None = None) -> Rows:
    with connections[using].cursor() as cursor:
        cursor.execute(statement, values)
        rows: Rows = cursor.fetchall()
        return rows
