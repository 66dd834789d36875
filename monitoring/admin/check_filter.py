from typing import Any

from django.contrib import admin

from monitoring.models import HealthCheck


class CheckFilter(admin.AllValuesFieldListFilter):
    """Offers the checks that there are: those that raised something would take reading all that was raised."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lookup_choices = HealthCheck.objects.order_by("check_name").values_list("check_name", flat=True)
