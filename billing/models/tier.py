"""The tiers, from the lowest to the highest: of two subscriptions the later in this order counts."""

from glyphforge.choices import Tone, ToneChoices


class Tier(ToneChoices):
    """The four tiers that are sold."""

    FREE = "free", Tone.NEUTRAL, "Free"
    STARTER = "starter", Tone.INFO, "Starter"
    PROFESSIONAL = "professional", Tone.INFO, "Professional"
    ENTERPRISE = "enterprise", Tone.SUCCESS, "Enterprise"
