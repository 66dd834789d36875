"""The field that asks why something is done."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget

from glyphforge.audit.masking import found_in

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

    def clean(self, value: Any) -> Any:
        """The text; raises ValidationError for one with a card's number or a password, which the log would keep."""
        text = super().clean(value)
        if found := found_in(text or ""):
            raise ValidationError(f"This holds {found}, which is kept nowhere. Leave it out.")
        return text
