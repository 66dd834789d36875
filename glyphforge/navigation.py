"""What the admin looks like and where its pages are found: Unfold's settings."""

from typing import Any

from django.urls import reverse_lazy

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Glyph Forge back office",
    "SITE_HEADER": "Glyph Forge",
    "SITE_SUBHEADER": "Billing back office",
    "SITE_SYMBOL": "payments",
    "SITE_URL": "/admin/",
    "ACCOUNT": {"navigation": [{"title": "Sign-in and security", "link": reverse_lazy("mfa_index")}]},
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "monitoring.dashboard.dashboard",
}
