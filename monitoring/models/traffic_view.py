"""The views on requests: who sends many, who fails, what is slow, how days and keys compare."""

from django.db import models

from billing.models import ApiKey, Tier, User
from monitoring.models.customer_view import customer


class HighVolumeUser(models.Model):
    """One of the customers with the most requests of the last day."""

    user = customer(primary_key=True)
    email = models.TextField("e-mail", null=True)
    tier = models.TextField("plan", choices=Tier.choices, null=True)
    requests_last_hour = models.BigIntegerField()
    requests_last_24h = models.BigIntegerField("requests last 24 h")
    failed_last_24h = models.BigIntegerField("failed last 24 h")
    user_status = models.TextField("customer status", choices=User.Status.choices, null=True)

    class Meta:
        managed = False
        db_table = "v_high_volume_users"
        verbose_name = "high volume customer"

    def __str__(self) -> str:
        return f"{self.email}, {self.requests_last_24h} requests"


class RepeatedFailure(models.Model):
    """A customer who keeps failing at one endpoint."""

    user = customer()
    email = models.TextField("e-mail", null=True)
    endpoint = models.TextField()
    failures_last_hour = models.BigIntegerField()
    last_failure_at = models.DateTimeField()
    last_status_code = models.IntegerField()
    id = models.TextField(primary_key=True)

    class Meta:
        managed = False
        db_table = "v_repeated_failures"

    def __str__(self) -> str:
        return f"{self.email}: {self.failures_last_hour} at {self.endpoint}"


class SlowEndpoint(models.Model):
    """Response times of one endpoint over the last day, in milliseconds."""

    endpoint = models.TextField()
    method = models.TextField()
    requests = models.BigIntegerField()
    avg_ms = models.DecimalField("mean, ms", max_digits=20, decimal_places=1)
    p95_ms = models.IntegerField("95 %, ms")
    p99_ms = models.IntegerField("99 %, ms")
    max_ms = models.IntegerField("slowest, ms")
    id = models.TextField(primary_key=True)

    class Meta:
        managed = False
        db_table = "v_slow_endpoints"

    def __str__(self) -> str:
        return self.id


class ApiUsageDay(models.Model):
    """Requests of one day, UTC."""

    day = models.DateField(primary_key=True)
    requests = models.BigIntegerField()
    failed_requests = models.BigIntegerField()
    error_percent = models.DecimalField("errors, %", max_digits=12, decimal_places=2, null=True)
    avg_ms = models.DecimalField("mean, ms", max_digits=20, decimal_places=1, null=True)
    active_users = models.BigIntegerField("active customers")

    class Meta:
        managed = False
        db_table = "v_api_usage_trends"
        verbose_name = "day of API usage"
        verbose_name_plural = "API usage trends"

    def __str__(self) -> str:
        return f"{self.day}: {self.requests}"


class ApiKeyUsage(models.Model):
    """What one API key was used for."""

    api_key = models.OneToOneField(
        ApiKey, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+", primary_key=True
    )
    user = customer()
    key_prefix = models.TextField("prefix")
    environment = models.TextField(choices=ApiKey.Environment.choices)
    requests_last_24h = models.BigIntegerField("requests last 24 h")
    requests_this_month = models.BigIntegerField()
    usage_count = models.BigIntegerField("requests ever")
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    name = models.TextField()

    class Meta:
        managed = False
        db_table = "v_api_key_usage_summary"
        verbose_name = "API key usage"
        verbose_name_plural = "API key usage"

    def __str__(self) -> str:
        return f"{self.key_prefix}…"
