"""Filters that offer the values there may be: those that occur would take reading every row."""

from typing import Any

from django.contrib import admin

from monitoring.models import HealthCheck, JobSchedule


class _KnownValuesFilter(admin.AllValuesFieldListFilter):
    """Offers every `name` of the small table that lists them."""

    listed_in: type[HealthCheck | JobSchedule]
    name: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lookup_choices = self.listed_in.objects.order_by(self.name).values_list(self.name, flat=True)


class CheckFilter(_KnownValuesFilter):
    """Offers the checks."""

    listed_in, name = HealthCheck, "check_name"


class JobFilter(_KnownValuesFilter):
    """Offers the jobs."""

    listed_in, name = JobSchedule, "job"
