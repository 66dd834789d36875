"""The pages of monitoring, one noun a file."""

from monitoring.admin import alert

__all__ = ["alert"]
