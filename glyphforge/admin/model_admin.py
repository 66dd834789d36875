"""The base of every admin page: what all of them share."""

from typing import Any, ClassVar

import unfold.admin
import unfold.views
from django.contrib.admin import ShowFacets, SimpleListFilter
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest, ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.text import capfirst

from glyphforge.admin.columns import EMPTY
from glyphforge.admin.narrowing import Narrowing
from glyphforge.admin.pagination import EstimatedPaginator
from glyphforge.admin.sidebar import title_of

# How Django's filters compare a field: https://docs.djangoproject.com/en/5.2/ref/contrib/admin/filters/
FILTER_LOOKUPS = frozenset({"exact", "in", "isnull"})


class ChangeList(Narrowing, unfold.views.ChangeList):
    """A list that offers "show all" only where something is left out, and shows its last page for one beyond it."""

    page_num: int

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.multi_page:
            self.page_num = self.paginator.validate_number(self.page_num)
        if not self.query and not self.has_active_filters:
            self.full_result_count = self.result_count


class ModelAdmin(unfold.admin.ModelAdmin):
    """A page of the back office."""

    list_per_page = 25
    list_max_show_all = 50  # "Show all" of a million rows is no help
    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # a count per filter value reads the whole table
    paginator = EstimatedPaginator
    warn_unsaved_form = True
    empty_value_display = EMPTY
    # What the list says when it has no row at all.
    nothing = "Nothing here yet"
    # Lookups of links that lead to the list, beside those of its filters.
    linked_by: ClassVar[tuple[str, ...]] = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[unfold.views.ChangeList]:
        return ChangeList

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Whether an address may ask for it: by what the list's filters and our links ask, and nothing else.

        Any other would let whoever may see a list find out, a letter at a time, what its pages do not show.
        """
        offered = {_asked_by(each) for each in self.get_list_filter(request)}
        field, _, how = lookup.rpartition("__")
        return lookup in self.linked_by or lookup in offered or (field in offered and how in FILTER_LOOKUPS)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                self.opts.pk.to_python(key)
            except ValidationError as error:
                raise BadRequest(f"No row of {self.opts.verbose_name_plural} has such a key.") from error
        answer: HttpResponse | None = super().response_action(request, queryset)
        return answer

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        # The browser's tab and history say what the sidebar says, not "Select customer to view".
        title = title_of(request.path) or capfirst(self.opts.verbose_name_plural)
        response = super().changelist_view(request, {"title": title, **(extra_context or {})})
        if request.headers.get("HX-Target") == "changelist-filter" and isinstance(response, TemplateResponse):
            response.template_name = "glyphforge/filters.html"
        return response


def _asked_by(list_filter: Any) -> str:
    """The parameter of a filter: its own, or the field that it compares."""
    if isinstance(list_filter, type) and issubclass(list_filter, SimpleListFilter):
        return str(list_filter.parameter_name)
    return str(list_filter if isinstance(list_filter, str) else list_filter[0])


class ReadOnlyModelAdmin(ModelAdmin):
    """A page that shows what somebody else owns: the database, Stripe or history."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions
