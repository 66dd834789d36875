"""Counting and paging that stay fast on large tables."""

import json
from math import ceil
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.core.paginator import EmptyPage, Page, Paginator
from django.db import connections
from django.db.models import QuerySet
from django.utils.functional import cached_property

EXACT_BELOW = 2_000
# The database reaches a page by reading all rows before it: with 50 a page, no more than 10,000.
DEEPEST_PAGE = 200


class EstimatedPaginator(Paginator):
    """Counts small results exactly, takes the planner's estimate for large ones, and ends at a depth.

    An exact count reads every matching row; the planner knows the order of magnitude from its statistics:
    https://www.postgresql.org/docs/current/row-estimation-examples.html
    """

    object_list: QuerySet[Any]
    template_name = "glyphforge/numbered_pages.html"

    @cached_property
    def count(self) -> int:
        return self._counted[0]

    @property
    def is_estimate(self) -> bool:
        """Whether the count is the planner's guess."""
        return self._counted[1]

    @cached_property
    def num_pages(self) -> int:
        return min(ceil(max(1, self.count) / self.per_page), DEEPEST_PAGE)

    @property
    def reach(self) -> int | None:
        """How many rows all pages show together; None where that is all there are."""
        most = DEEPEST_PAGE * self.per_page
        return most if self.count > most else None

    def validate_number(self, number: Any) -> int:
        """A page beyond the last is the last: an estimate may have promised it, or somebody typed it."""
        try:
            return super().validate_number(number)
        except EmptyPage:
            if int(number) < 1:
                raise
            return self.num_pages

    @cached_property
    def _counted(self) -> tuple[int, bool]:
        queryset = self.object_list.order_by()
        try:
            estimate = self._estimate(queryset)
        except EmptyResultSet:  # a search that found nobody asks for none of the rows
            return 0, False
        if estimate >= EXACT_BELOW:
            return estimate, True
        # The planner may be wrong by far: the limit keeps the count cheap all the same.
        return queryset.values("pk")[: 2 * EXACT_BELOW].count(), False

    @staticmethod
    def _estimate(queryset: QuerySet[Any]) -> int:
        sql, parameters = queryset.values("pk").query.sql_with_params()
        with connections[queryset.db].cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", parameters)
            plan = cursor.fetchone()[0]
        plan = json.loads(plan) if isinstance(plan, str) else plan
        return int(plan[0]["Plan"]["Plan Rows"])


class SingleReadPaginator(EstimatedPaginator):
    """Reads a view once for both its count and its page, as reading it is what costs; a long one as any other list."""

    @cached_property
    def rows(self) -> list[Any] | None:
        """All rows; None where there are too many to be read for one page."""
        found = list(self.object_list[: EXACT_BELOW + 1])
        return found if len(found) <= EXACT_BELOW else None

    @cached_property
    def _counted(self) -> tuple[int, bool]:
        return super()._counted if self.rows is None else (len(self.rows), False)

    def page(self, number: int | str) -> Page[Any]:
        if self.rows is None:
            return super().page(number)
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        return Page(self.rows[first : first + self.per_page], number, self)
