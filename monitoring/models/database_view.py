"""The views on the database server itself."""

from django.db import models

from glyphforge.choices import Tone, ToneChoices


class DatabaseSize(models.Model):
    """A table with its indexes, its partitions included."""

    table_name = models.TextField(primary_key=True)
    total_bytes = models.BigIntegerField()
    table_bytes = models.BigIntegerField()
    index_bytes = models.BigIntegerField()
    row_estimate = models.BigIntegerField(null=True)
    dead_rows = models.BigIntegerField()
    partitions = models.BigIntegerField()
    last_vacuum_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "v_database_size"
        verbose_name = "table size"

    def __str__(self) -> str:
        return self.table_name


class DatabaseConnections(models.Model):
    """How many connections of the server are used, and by what; None is unknown."""

    # The view has one row, and this is the only column that does not change between two reads of it.
    max_connections = models.IntegerField(primary_key=True)
    total = models.IntegerField()
    active = models.BigIntegerField(null=True)
    idle = models.BigIntegerField(null=True)
    idle_in_transaction = models.BigIntegerField(null=True)
    percent_used = models.DecimalField(max_digits=12, decimal_places=2)

    class Meta:
        managed = False
        db_table = "v_database_connections"
        verbose_name = "connections"
        verbose_name_plural = "connections"

    def __str__(self) -> str:
        return f"{self.total} of {self.max_connections}"


class LongRunningQuery(models.Model):
    """A session that has been busy, or idle in a transaction, for over a second."""

    pid = models.IntegerField("process", primary_key=True)
    username = models.TextField("role")
    state = models.TextField()
    duration_seconds = models.DecimalField(max_digits=20, decimal_places=1, null=True)
    wait_event = models.TextField(null=True)
    query = models.TextField()
    application_name = models.TextField("application")
    blocked_by = models.IntegerField()

    class Meta:
        managed = False
        db_table = "v_long_running_queries"
        verbose_name_plural = "long running queries"

    def __str__(self) -> str:
        return f"process {self.pid}"


class DatabaseSession(models.Model):
    """A connection to this database: who holds it, since when, what for; None is unknown or nothing."""

    session_id = models.TextField("session", primary_key=True)
    pid = models.IntegerField("process")
    application_name = models.TextField("application", null=True)
    username = models.TextField("role")
    client = models.TextField("host", null=True)
    state = models.TextField()
    since = models.DateTimeField(null=True)
    transaction_since = models.DateTimeField("in a transaction since", null=True)
    wait_event = models.TextField("waits for", null=True)
    blocked_by = models.TextField(null=True)
    blocks = models.TextField(null=True)
    query = models.TextField("statement", null=True)
    is_own = models.BooleanField("this page's own")

    class Meta:
        managed = False
        db_table = "v_database_sessions"
        verbose_name = "connection"
        permissions = [("signal_databasesession", "Can cancel queries and end sessions of the database")]

    def __str__(self) -> str:
        return f"process {self.pid}, {self.application_name or 'no application'} as {self.username}"


class TopQuery(models.Model):
    """A statement by the time that all its runs took, as `pg_stat_statements` counts."""

    id = models.TextField(primary_key=True)
    query = models.TextField("statement", null=True)
    calls = models.BigIntegerField()
    total_ms = models.DecimalField(max_digits=30, decimal_places=1)
    mean_ms = models.DecimalField(max_digits=30, decimal_places=2)
    percent_of_time = models.DecimalField(max_digits=12, decimal_places=1, null=True)
    rows_returned = models.BigIntegerField()
    username = models.TextField("role", null=True)

    class Meta:
        managed = False
        db_table = "v_top_queries"
        verbose_name_plural = "top queries"

    def __str__(self) -> str:
        return f"statement {self.id}"


class IndexFinding(models.Model):
    """An index that nobody reads, or that another one makes superfluous."""

    class Problem(ToneChoices):
        UNUSED = "unused", Tone.NEUTRAL, "Unused"
        DUPLICATE = "duplicate", Tone.WARNING, "Duplicate"

    index_name = models.TextField("index", primary_key=True)
    table_name = models.TextField("table")
    problem = models.TextField(choices=Problem.choices)
    detail = models.TextField("why")
    bytes = models.BigIntegerField("size")
    scans = models.BigIntegerField("reads", null=True)
    definition = models.TextField()

    class Meta:
        managed = False
        db_table = "v_index_findings"
        verbose_name_plural = "index findings"

    def __str__(self) -> str:
        return self.index_name


class SchemaDifference(models.Model):
    """What differs from the definitions, as the job `verify` last found it, with the statements that mend it."""

    class Problem(ToneChoices):
        MISSING = "missing", Tone.DANGER, "Missing"
        DIFFERENT = "different", Tone.WARNING, "Different"
        EXTRA = "extra", Tone.NEUTRAL, "Extra"

    id = models.TextField(primary_key=True)
    problem = models.TextField(choices=Problem.choices)
    kind = models.TextField()
    name = models.TextField()
    detail = models.TextField("what differs", null=True)
    sql = models.TextField("statements that mend it", null=True)
    found_at = models.DateTimeField("found", null=True)

    class Meta:
        managed = False
        db_table = "v_schema_differences"
        verbose_name = "schema difference"
        permissions = [("repair_schemadifference", "Can repair what differs in the database's schema")]

    def __str__(self) -> str:
        return f"{self.problem} {self.kind} {self.name}"
