"""`api_usage`, one row a request, and `monthly_usage_summary`, the view that adds the requests up."""

from django.db import models
from django.db.models.functions import Now

from billing.models.api_key import ApiKey
from billing.models.user import User


class ApiUsage(models.Model):
    """One request to the API. Partitioned by month; no foreign keys, so that months can be dropped."""

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(
        User, verbose_name="customer", on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    api_key = models.ForeignKey(ApiKey, on_delete=models.DO_NOTHING, db_constraint=False, null=True, related_name="+")
    endpoint = models.TextField()
    method = models.TextField()
    status_code = models.IntegerField()
    response_time_ms = models.IntegerField()
    request_bytes = models.IntegerField(null=True)
    response_bytes = models.IntegerField(null=True)
    ip_address = models.GenericIPAddressField(null=True)
    error_message = models.TextField(null=True)
    request_id = models.TextField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "api_usage"
        verbose_name = "API request"

    def __str__(self) -> str:
        return f"{self.method} {self.endpoint} {self.status_code}"


class MonthlyUsageSummary(models.Model):
    """A customer's requests of one calendar month (UTC), exact for every committed request."""

    pk = models.CompositePrimaryKey("user_id", "month")
    user = models.ForeignKey(
        User, verbose_name="customer", on_delete=models.DO_NOTHING, db_constraint=False, related_name="usage_months"
    )
    month = models.DateField()
    total_requests = models.BigIntegerField()
    successful_requests = models.BigIntegerField()
    failed_requests = models.BigIntegerField()
    total_response_time_ms = models.BigIntegerField()
    max_response_time_ms = models.IntegerField()
    last_request_at = models.DateTimeField()
    throttled_requests = models.BigIntegerField(help_text="Of the failed ones, those answered with 429.")
    server_errors = models.BigIntegerField(help_text="Of the failed ones, those answered with 5xx.")

    class Meta:
        db_table = "monthly_usage_summary"
        managed = False
        verbose_name = "month of usage"
        verbose_name_plural = "months of usage"

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}: {self.total_requests}"
