"""`approvals`: what one person asks for and another decides; `glyphforge.approval.requests` writes it."""

from datetime import timedelta

from django.db import models
from django.db.models.functions import Now

from glyphforge.choices import Tone, ToneChoices
from glyphforge.rows import uuid_key


class Approval(models.Model):
    """A request that another person has to decide. The database refuses one that decides their own."""

    class State(ToneChoices):
        ASKED = "asked", Tone.WARNING, "Waits for another person"
        APPROVED = "approved", Tone.INFO, "Approved"
        REFUSED = "refused", Tone.NEUTRAL, "Refused"
        WITHDRAWN = "withdrawn", Tone.NEUTRAL, "Withdrawn"
        DONE = "done", Tone.SUCCESS, "Done"

    OPEN = frozenset({State.ASKED, State.APPROVED})

    id = uuid_key()
    kind = models.TextField()
    subject = models.TextField(help_text="The id of what it is about.")
    summary = models.TextField("what is asked for")
    state = models.TextField(choices=State.choices, db_default=State.ASKED)
    asked_by = models.TextField()
    asked_at = models.DateTimeField(db_default=Now())
    reason = models.TextField()
    expires_at = models.DateTimeField(db_default=Now() + timedelta(days=7), help_text="Stale afterwards.")
    decided_by = models.TextField(null=True)
    decided_at = models.DateTimeField(null=True)
    decision_reason = models.TextField(null=True)
    done_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "approvals"
        ordering = ["-asked_at"]
        permissions = [("decide_approval", "Can approve or refuse what another person asks for")]

    def __str__(self) -> str:
        return self.summary
