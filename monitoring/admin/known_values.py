"""Filters that offer the values there may be: those that occur would take reading every row."""

from typing import Any

from django.contrib import admin
from django.db import connection


class _KnownValuesFilter(admin.AllValuesFieldListFilter):
    """Offers every value that the query `known` gives."""

    known: str  # a query

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        with connection.cursor() as cursor:
            cursor.execute(self.known)
            values: Any = [name for (name,) in cursor.fetchall()]
        self.lookup_choices = values


class CheckFilter(_KnownValuesFilter):
    """Offers the checks, by no table, as the page of alerts is for when one is locked."""

    known = "SELECT check_name FROM known_checks() ORDER BY check_name"


class JobFilter(_KnownValuesFilter):
    """Offers the jobs."""

    known = "SELECT job FROM job_schedules ORDER BY job"
