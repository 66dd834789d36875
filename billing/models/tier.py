"""The tiers, from the lowest to the highest: of two subscriptions the later in this order counts."""

from glyphforge.choices import Tone, ToneChoices


class Tier(ToneChoices):
    """The four tiers that are sold."""

    FREE = "free", Tone.NEUTRAL, "Free"
    STARTER = "starter", Tone.INFO, "Starter"
    PROFESSIONAL = "professional", Tone.INFO, "Professional"
    ENTERPRISE = "enterprise", Tone.SUCCESS, "Enterprise"


class Sold(ToneChoices):
    """What a Stripe price or product may be declared to sell: one of the tiers, or nothing of ours."""

    FREE = Tier.FREE.value, Tier.FREE.tone, Tier.FREE.label
    STARTER = Tier.STARTER.value, Tier.STARTER.tone, Tier.STARTER.label
    PROFESSIONAL = Tier.PROFESSIONAL.value, Tier.PROFESSIONAL.tone, Tier.PROFESSIONAL.label
    ENTERPRISE = Tier.ENTERPRISE.value, Tier.ENTERPRISE.tone, Tier.ENTERPRISE.label
    FOREIGN = "none", Tone.NEUTRAL, "Not ours"
