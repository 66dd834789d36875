"""Choices that know their colour, so that a status looks the same on every page."""

from enum import StrEnum
from typing import Self

from django.db import models


class Tone(StrEnum):
    """What a colour means. The text beside it says the same, for those who do not see it."""

    SUCCESS = "success"
    WARNING = "warning"
    DANGER = "danger"
    INFO = "info"
    NEUTRAL = "neutral"


class ToneChoices(models.TextChoices):
    """Choices written as `NAME = value, tone, label`; each has its `tone`.

    Extra values of a member: https://docs.djangoproject.com/en/5.2/ref/models/fields/#enumeration-types
    """

    tone: Tone

    def __new__(cls, value: str, tone: Tone = Tone.NEUTRAL) -> Self:
        """Make a member of its value; the metaclass has taken the label."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.tone = tone
        return member
