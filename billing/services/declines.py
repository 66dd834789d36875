"""Why a charge failed, in words: those of the database's function `decline_words()`."""

from django.db.models import F, Func, TextField
from django.db.models.functions import Coalesce


def decline_words() -> Func:
    """The words for a payment or an unpaid invoice, to annotate its rows with; NULL where nothing failed."""
    code = Coalesce(F("decline_code"), F("failure_code"))
    return Func(code, function="decline_words", output_field=TextField(null=True))
