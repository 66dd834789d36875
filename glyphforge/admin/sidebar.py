"""What the sidebar says, as the setting UNFOLD has it."""

from django.conf import settings


def title_of(link: str) -> str | None:
    """What the sidebar calls the page; None for a page that is not in it."""
    items = (item for group in settings.UNFOLD["SIDEBAR"]["navigation"] for item in group["items"])
    return next((item["title"] for item in items if str(item["link"]) == link), None)
