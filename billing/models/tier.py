from django.db import models


class Tier(models.TextChoices):
    """The four tiers that are sold."""

    FREE = "free", "Free"
    STARTER = "starter", "Starter"
    PROFESSIONAL = "professional", "Professional"
    ENTERPRISE = "enterprise", "Enterprise"
