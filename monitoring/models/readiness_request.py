"""`readiness_requests`: whether anybody outside asks how this is doing."""

from django.db import connection, models


class ReadinessRequest(models.Model):
    """When /readyz was last asked: one row, written at most once a minute and process."""

    only_row = models.BooleanField(primary_key=True, db_default=True)
    asked_at = models.DateTimeField()

    class Meta:
        db_table = "readiness_requests"
        default_permissions = ()

    def __str__(self) -> str:
        return f"/readyz {self.asked_at:%Y-%m-%d %H:%M}"

    @staticmethod
    def note() -> None:
        """Write down that it is asked now; raises what the database raises."""
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO readiness_requests DEFAULT VALUES"
                " ON CONFLICT (only_row) DO UPDATE SET asked_at = excluded.asked_at"
            )

    @staticmethod
    def seconds_since() -> float | None:
        """How long ago it was last asked, by the database's clock; None where it never was."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT extract(epoch FROM clock_timestamp() - max(asked_at))::float8 FROM readiness_requests"
            )
            seconds: float | None = cursor.fetchone()[0]
        return seconds
