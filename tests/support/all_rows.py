"""All rows of all tables: what has to be the same where nothing may have happened, and what an act changes of them."""

import json
import re
from collections.abc import Callable
from typing import Any

from glyphforge.database.rehearsal import Change
from glyphforge.rows import Json
from tests.support.sql import run

# Chance gives the one; of moments only those of the clock are no whole seconds.
OF_THE_MOMENT = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00"
)
COUNTED = ("_cents", "_count", "attempts", "quantity", "number", "limit")
KEY = """
    (SELECT string_agg(format('t.%I::text', a.attname), ', ' ORDER BY array_position(i.indkey::int2[], a.attnum))
    FROM pg_index AS i INNER JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])
    WHERE i.indrelid = c.oid AND i.indisprimary)
"""
Rows = dict[tuple[str, str], Json]


def _of_each_table(query: str) -> list[tuple[Any, ...]]:
    tables = run(
        f"SELECT c.oid::regclass::text, coalesce({KEY}, 't::text') FROM pg_class AS c"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
    )
    return run(" UNION ALL ".join(query.format(table=table, key=key) for table, key in tables))


def digest() -> dict[str, str]:
    """A hash of the rows of each table, whatever their order; partitions are with their table."""
    rows = "coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")), '')"
    return dict(_of_each_table(f"SELECT '{{table}}', {rows} FROM {{table}} AS t"))


def _everything() -> Rows:
    found = _of_each_table("SELECT '{table}', concat_ws('/', {key}), to_jsonb(t)::text FROM {table} AS t")
    return {(table, key): json.loads(row) for table, key, row in found}


def changed_by(act: Callable[[], Any]) -> list[Change]:
    """What changes when it is done."""
    before = _everything()
    act()
    after = _everything()
    names = before.keys() | after.keys()
    return [Change(*name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def comparable(changes: list[Change]) -> list[str]:
    """What they say, in an order of their own, without what chance, a sequence or the clock gives."""
    rows = [
        [change.table, change.action]
        + [
            [name, after]
            for name, _, after in change.columns()
            if type(after) is not int or name.endswith(COUNTED)  # other numbers are keys
        ]
        for change in changes
    ]
    return sorted(OF_THE_MOMENT.sub("…", json.dumps(row)) for row in rows)
