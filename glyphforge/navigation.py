"""What the admin looks like and where its pages are found: Unfold's settings."""

from typing import Any

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Glyph Forge back office",
    "SITE_HEADER": "Glyph Forge",
    "SITE_SUBHEADER": "Billing back office",
    "SITE_SYMBOL": "payments",
    "SITE_URL": "/admin/",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
}
