"""What a list shows, in words and as an address: its filters and search, whatever page of it is open."""

from typing import Any, cast

from django.contrib.admin.views.main import IGNORED_PARAMS

# Of a lookup so much is no news.
_ENDINGS = ("__exact", "__id", "__in")


class Narrowing:
    """Of a change list: how its address narrows it."""

    @property
    def narrowed(self) -> str:
        """The filters and the search in words, such as `status: past_due, search: ada`; nothing where all is shown."""
        shown = cast("Any", self)
        parts = [
            f"{_name(lookup)}: {' or '.join(map(str, values))}"
            for lookup, values in shown.filter_params.items()
            if lookup not in IGNORED_PARAMS
        ]
        return ", ".join([*parts, *([f"search: {shown.query}"] if shown.query else [])])

    @property
    def as_shown(self) -> str:
        """The query string of the list as it is narrowed and sorted."""
        return str(cast("Any", self).get_query_string())


def _name(lookup: str) -> str:
    for ending in _ENDINGS:
        lookup = lookup.removesuffix(ending)
    return lookup.replace("_", " ").replace("  ", " ")
