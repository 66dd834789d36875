"""`api_keys`: `billing.keys.lifecycle` writes them, `roll_up_usage()` counts their requests."""

from django.db import models
from django.utils import timezone

from billing.models.user import User
from glyphforge.choices import Tone, ToneChoices
from glyphforge.rows import created_at, updated_at, uuid_key


class ApiKey(models.Model):
    """A customer's key as a bcrypt hash, and as an HMAC that is quick to check; the key itself is kept nowhere."""

    class Environment(ToneChoices):
        DEVELOPMENT = "development", Tone.NEUTRAL, "Development"
        STAGING = "staging", Tone.INFO, "Staging"
        PRODUCTION = "production", Tone.SUCCESS, "Production"

    id = uuid_key()
    user = models.ForeignKey(User, verbose_name="customer", on_delete=models.CASCADE, related_name="api_keys")
    name = models.TextField(db_default="", blank=True)
    environment = models.TextField(choices=Environment.choices, db_default=Environment.DEVELOPMENT)
    key_prefix = models.TextField(
        "prefix", help_text="How the key begins; enough to recognise it, too little to use it."
    )
    key_hash = models.TextField(editable=False)
    key_fast_hash = models.TextField(null=True, editable=False)
    usage_count = models.BigIntegerField(db_default=0, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    replaced_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)
    revoked_reason = models.TextField(null=True, editable=False)
    created_at = created_at()
    updated_at = updated_at()

    class Meta:
        db_table = "api_keys"
        verbose_name = "API key"
        permissions = [
            ("rotate_apikey", "Can replace an API key by a new one"),
            ("revoke_apikey", "Can revoke an API key"),
        ]

    def __str__(self) -> str:
        return f"{self.key_prefix}…"

    @property
    def is_expired(self) -> bool:
        """Whether the key had an end and has reached it."""
        return self.expires_at is not None and self.expires_at <= timezone.now()
