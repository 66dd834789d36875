"""Filters that offer the values there may be: those that occur would take reading every row."""

from typing import Any

from django.contrib import admin

from monitoring.models import HealthCheck, JobSchedule


class CheckFilter(admin.AllValuesFieldListFilter):
    """Offers the checks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lookup_choices = HealthCheck.objects.order_by("check_name").values_list("check_name", flat=True)


class JobFilter(admin.AllValuesFieldListFilter):
    """Offers the jobs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lookup_choices = JobSchedule.objects.order_by("job").values_list("job", flat=True)
