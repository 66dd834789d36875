"""The field that asks why something is done."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

SHORTEST, LONGEST = 3, 500  # characters


class ReasonField(forms.CharField):
    """Why, in words that the next person understands."""

    def __init__(self, **options: Any) -> None:
        usual = {
            "min_length": SHORTEST,
            "max_length": LONGEST,
            "widget": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
            "help_text": "Goes into the audit log. Name the ticket, if there is one.",
        }
        super().__init__(**usual | options)
