"""The views on the database server itself."""

from django.db import models


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
