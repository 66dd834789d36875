"""No setting of a session and no object of somebody else changes what a function does or answers."""

import pytest

from tests.support import functions, outcomes
from tests.support.better_operators import BETTER_OPERATORS
from tests.support.needs import require
from tests.support.sql import run, scalar

pytestmark = [pytest.mark.django_db, pytest.mark.one_day]

# Tables, functions and operators that a search path may find before ours and PostgreSQL's own.
SHADOWS = (
    "CREATE SCHEMA shadows",
    "CREATE TABLE shadows.users (x int)",
    "CREATE TABLE shadows.api_usage_deltas (x int)",
    "CREATE DOMAIN shadows.date AS text",
    "CREATE FUNCTION shadows.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '1999-01-01T00:00:00Z' $$",
    *(
        f"CREATE FUNCTION shadows.{signature} LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed'; END $$"
        for signature in (
            "date_trunc(text, timestamp) RETURNS timestamp",
            "date_trunc(text, timestamptz, text) RETURNS timestamptz",
            "clock_timestamp() RETURNS timestamptz",
            "current_setting(text, boolean) RETURNS text",
            "set_config(text, text, boolean) RETURNS text",
            "to_regclass(text) RETURNS regclass",
            "lower(text) RETURNS text",
            "left(text, int) RETURNS text",
            "is_at_least(int, int) RETURNS boolean",
            "is_text(text, text) RETURNS boolean",
            "is_key(uuid, uuid) RETURNS boolean",
            "is_later(timestamptz, timestamptz) RETURNS boolean",
        )
    ),
    "CREATE OPERATOR shadows.>= (LEFTARG = int, RIGHTARG = int, FUNCTION = shadows.is_at_least)",
    "CREATE OPERATOR shadows.= (LEFTARG = text, RIGHTARG = text, FUNCTION = shadows.is_text)",
    "CREATE OPERATOR shadows.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = shadows.is_key)",
    "CREATE OPERATOR shadows.< (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = shadows.is_later)",
    "SET LOCAL search_path = shadows, pg_catalog, public",
)
SETTINGS = {
    "India": ("SET LOCAL timezone = 'Asia/Kolkata'", "SET LOCAL datestyle = 'SQL, DMY'"),
    "China": ("SET LOCAL timezone = 'Asia/Shanghai'", "SET LOCAL datestyle = 'German, YMD'"),
    "Newfoundland": ("SET LOCAL timezone = 'America/St_Johns'", "SET LOCAL datestyle = 'Postgres, MDY'"),
    "Kiritimati": ("SET LOCAL timezone = 'Pacific/Kiritimati'", "SET LOCAL datestyle = 'ISO, DMY'"),
    "Niue": ("SET LOCAL timezone = 'Pacific/Niue'", "SET LOCAL datestyle = 'SQL, MDY'"),
    "an offset": ("SET LOCAL timezone = '+05:30'", "SET LOCAL datestyle = 'Postgres, DMY'"),
    "Israel's abbreviations": (
        "SET LOCAL timezone = 'Asia/Jerusalem'",
        "SET LOCAL datestyle = 'SQL, DMY'",
        "SET LOCAL timezone_abbreviations = 'India'",
    ),
    "Lord Howe": ("SET LOCAL timezone = 'Australia/Lord_Howe'", "SET LOCAL timezone_abbreviations = 'Australia'"),
    "intervals of ISO": ("SET LOCAL intervalstyle = 'iso_8601'",),
    "intervals of SQL": ("SET LOCAL intervalstyle = 'sql_standard'",),
    "verbose intervals": ("SET LOCAL intervalstyle = 'postgres_verbose'",),
    "backslashes escape": ("SET LOCAL standard_conforming_strings = off", "SET LOCAL escape_string_warning = off"),
    "no backslash before a quote": ("SET LOCAL backslash_quote = off", "SET LOCAL standard_conforming_strings = off"),
    "bytes escaped": ("SET LOCAL bytea_output = 'escape'",),
    "short numbers": ("SET LOCAL extra_float_digits = -15",),
    "locale": tuple(f"SET LOCAL lc_{kind} = 'C.UTF-8'" for kind in ("monetary", "numeric", "time")),
    "no search path": ("SET LOCAL search_path = ''",),
    "only temporary objects": ("SET LOCAL search_path = pg_temp",),
    "temporary tables in the way": (
        "SET LOCAL client_min_messages = error",
        *(
            f"CREATE TEMPORARY TABLE {name} (x int)"
            for name in ("users", "api_usage", "api_usage_deltas", "audit_log", "plans")
        ),
    ),
    "shadows": SHADOWS,
    "row security": ("SET LOCAL row_security = off",),
    "little memory": (
        "SET LOCAL work_mem = '64kB'",
        "SET LOCAL temp_file_limit = 0",
        "SET LOCAL maintenance_work_mem = '1MB'",
    ),
    "no patience for locks": ("SET LOCAL lock_timeout = '1ms'",),
    "no NULL in arrays": ("SET LOCAL array_nulls = off",),
    "= NULL is IS NULL": ("SET LOCAL transform_null_equals = on",),
    "all names quoted": ("SET LOCAL quote_all_identifiers = on",),
    "binary XML": ("SET LOCAL xmlbinary = 'hex'", "SET LOCAL xmloption = 'document'"),
    "variables win": ("SET LOCAL plpgsql.variable_conflict = 'use_variable'",),
    "columns win": ("SET LOCAL plpgsql.variable_conflict = 'use_column'",),
    "strict PL/pgSQL": ("SET LOCAL plpgsql.extra_errors = 'all'", "SET LOCAL plpgsql.print_strict_params = on"),
    "unheard": ("SET LOCAL client_min_messages = 'error'",),
    "all ears": ("SET LOCAL client_min_messages = 'debug1'", "SET LOCAL log_min_messages = 'error'"),
    "Latin 1": ("SET LOCAL client_encoding = 'LATIN1'",),
    "unchecked bodies": ("SET LOCAL check_function_bodies = off",),
    "Samoa": ("SET LOCAL timezone = 'Pacific/Apia'", "SET LOCAL datestyle = 'Postgres, YMD'"),
    "France": ("SET LOCAL timezone = 'Europe/Paris'", "SET LOCAL datestyle = 'SQL, YMD'"),
    "a POSIX zone": ("SET LOCAL timezone = 'XYZ-14'", "SET LOCAL datestyle = 'German, DMY'"),
    "no pruning": ("SET LOCAL enable_partition_pruning = off", "SET LOCAL constraint_exclusion = on"),
    "partitionwise": ("SET LOCAL enable_partitionwise_join = on", "SET LOCAL enable_partitionwise_aggregate = on"),
    "generic plans": ("SET LOCAL plan_cache_mode = 'force_generic_plan'",),
    "custom plans": ("SET LOCAL plan_cache_mode = 'force_custom_plan'", "SET LOCAL jit = off"),
    "lz4 and genetic": (
        "SET LOCAL default_toast_compression = 'pglz'",
        "SET LOCAL geqo_threshold = 2",
        "SET LOCAL from_collapse_limit = 1",
    ),
    "few ways to read": tuple(
        f"SET LOCAL enable_{way} = off" for way in ("seqscan", "indexscan", "bitmapscan", "hashjoin", "hashagg", "sort")
    ),
    "other defaults of transactions": (
        "SET LOCAL default_transaction_isolation = 'serializable'",
        "SET LOCAL default_transaction_read_only = on",
        "SET LOCAL default_transaction_deferrable = on",
    ),
    "parallel": (
        *(f"SET LOCAL parallel_{cost}_cost = 0" for cost in ("setup", "tuple")),
        "SET LOCAL min_parallel_table_scan_size = 0",
    ),
    "patience that is no number": ("SET LOCAL app.check_patience_ms = 'abc'",),
    "statements counted no more": ("SET LOCAL track_activities = off", "SET LOCAL track_counts = off"),
    "an actor of its own": ("SET LOCAL application_name = 'psql'", "SET LOCAL synchronize_seqscans = off"),
}


def together() -> list[list[str]]:
    """The names of SETTINGS in few groups, in each of which no two set the same."""
    groups: list[tuple[list[str], set[str]]] = []
    for name, statements in SETTINGS.items():
        mine = {words[2] for words in map(str.split, statements) if words[0] == "SET"}
        apart = [group for group in groups if not group[1] & mine]
        if not apart:
            groups.append(([], set()))
        names, taken = min(apart or groups[-1:], key=lambda group: len(group[0]))
        names.append(name)
        taken |= mine
    return [names for names, _ in groups]


def test_every_function_of_the_project_is_called() -> None:
    assert {name for (name,) in run(functions.DECLARED)} == set(functions.CALLS)


def test_no_operator_of_somebody_else_is_called() -> None:
    """Who may create in `public`, as everybody could before PostgreSQL 15, must not get a function's owner's rights."""
    require(scalar("SELECT current_setting('is_superuser')") == "on", "a superuser, to create the other role")
    functions.prepare()
    expected = functions.call_all()
    ignored = outcomes.volatile(expected, functions.call_all())
    assert outcomes.differences(expected, functions.call_all(BETTER_OPERATORS), ignored) == {}


@pytest.mark.slow
def test_no_setting_changes_what_a_function_does() -> None:
    require(scalar("SELECT current_setting('is_superuser')") == "on", "a superuser, whose settings these are in part")
    assert len(SETTINGS) >= 40
    functions.prepare()
    expected = functions.call_all()
    ignored = outcomes.volatile(expected, functions.call_all())

    def differing(*names: str) -> dict[str, object]:
        return outcomes.differences(
            expected, functions.call_all(*(each for name in names for each in SETTINGS[name])), ignored
        )

    for names in together():
        if found := differing(*names):
            assert {name: alone for name in names if (alone := differing(name))} or {tuple(names): found} == {}
