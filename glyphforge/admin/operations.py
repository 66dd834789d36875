"""Operations: what staff may do beyond reading, always after a confirmation that counts and a reason."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from glyphforge.admin.model_admin import ModelAdmin
from glyphforge.admin.reason import ReasonField
from glyphforge.database.rehearsal import Rehearsal, rehearse
from glyphforge.errors import Notice, Refused
from glyphforge.web import form_token

SHOWN = 10  # rows named on the confirmation page; the rest are counted


class ReasonForm(forms.Form):
    """Why it is done, in words that the next person understands; it goes into the audit log.

    `token` stands for one rendering of the form, however often it is sent, `shown` for the preview beside it; empty
    when it came without. `narrowed` are the filters and the search of the list whose rows they are, in words. What is
    not confirmed is looked at only.
    """

    is_confirmed = False
    token = ""
    shown = ""
    narrowed = ""
    # What may be wrong or missing while what would happen is shown.
    beside_preview: ClassVar[frozenset[str]] = frozenset({"reason", "__all__"})

    reason: forms.CharField = ReasonField()

    def __init__(self, *args: Any, rows: QuerySet[Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rows = rows
        first = next((name for name in self.fields if not self.initial.get(name)), "reason")
        self.fields[first].widget.attrs["autofocus"] = True


@dataclass(frozen=True)
class Preview:
    """What would happen: `template` renders it as `preview`, and the form carries `shown` to its confirmation."""

    template: str
    shown: str
    content: Any


GIVEN = object()


def _is_choice(wanted: Any) -> bool:
    return isinstance(wanted, Collection) and not isinstance(wanted, str)


def _lookup(name: str, wanted: Any) -> tuple[str, Any]:
    if wanted is None or wanted is GIVEN:
        return f"{name}__isnull", wanted is None
    return (f"{name}__in", list(wanted)) if _is_choice(wanted) else (name, wanted)


def _holds(value: Any, wanted: Any) -> bool:
    if wanted is None or wanted is GIVEN:
        return (value is None) == (wanted is None)
    return value in wanted if _is_choice(wanted) else bool(value == wanted)


class Operation(ABC):
    """Something that staff may do to rows of one model.

    An operation is offered to those who hold its permission: on one row (`on_one`), on rows selected in a list
    (`on_selection`) or on all rows that need it (`on_all`). It happens only on a POST that carries a reason, after a
    page that said what would happen to how many rows. What happens is a service's business.
    """

    name: ClassVar[str]  # in the address
    label: ClassVar[str]  # on the button
    permission: str  # "app.codename"
    icon: ClassVar[str]
    danger: ClassVar[bool] = False
    on_one: ClassVar[bool] = True
    on_selection: ClassVar[bool] = False
    on_all: ClassVar[bool] = False
    makes_new: ClassVar[bool] = False  # instead of changing rows that could be counted
    has_preview: ClassVar[bool] = False  # has to be looked at before it is confirmed
    can_rehearse: ClassVar[bool] = False  # may be tried before: all of it is in our database, or asks only
    once: ClassVar[bool] = True  # a rendering; not where it knows itself what became of one, or changes nothing
    form_class: ClassVar[type[ReasonForm]] = ReasonForm
    # What a row must have, by field: a value, one of several in a collection, None for nothing, GIVEN for anything.
    when: ClassVar[Mapping[str, Any]] = {}

    def permitted(self, request: HttpRequest) -> bool:
        """Whether whoever asks holds the permission."""
        return request.user.has_perm(self.permission)

    def applicable(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Those of the rows that the operation would change: where `when` holds."""
        return rows.filter(**dict(_lookup(name, wanted) for name, wanted in self.when.items()))

    def offered(self, row: Any) -> bool:
        """Whether the button is shown for this row: where `when` holds; costs no query."""
        return all(_holds(getattr(row, name), wanted) for name, wanted in self.when.items())

    def describe(self, row: Any) -> str:
        """How the confirmation page names a row."""
        return str(row)

    def nothing(self, row: Any) -> str:
        """Why nothing can be done to this row, to which the operation does not apply."""
        return "There is nothing to do."

    @abstractmethod
    def effect(self, count: int) -> str:
        """What will happen to so many rows, in one sentence."""

    def preview(self, rows: QuerySet[Any], form: ReasonForm) -> Preview:
        """What the form's terms would do; it is valid but for the reason. Raises `Refused` where it may not be done."""
        raise NotImplementedError

    @abstractmethod
    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        """Do it, and return what changed, in one sentence. Raises `Refused` where it may not be done, and `Notice`.

        `rows` are the applicable ones, of which others may have changed some meanwhile; `form` is valid.
        """

    def recall(self, token: str) -> str | None:
        """What became of the confirmation `token`, if it did its work before; asked where nothing is left to do."""
        return None

    def respond(self, request: HttpRequest, form: ReasonForm, back: str) -> HttpResponseBase:
        """Where to go afterwards: a redirect, also to what is shown once."""
        return HttpResponseRedirect(back)


def _previewed(operation: Operation, rows: QuerySet[Any], form: ReasonForm) -> tuple[Preview | None, str]:
    """What the terms of the form would do, or why they may not be done; nothing while they say nothing valid."""
    if not operation.has_preview or not form.is_bound or form.errors.keys() - form.beside_preview:
        return None, ""
    try:
        return operation.preview(rows, form), ""
    except Refused as refusal:
        return None, str(refusal)


def _asking_for_list(request: HttpRequest, operation: Operation) -> HttpRequest:
    """The request as the list would have it: without what a link fills into the operation's form."""
    parameters = request.GET.copy()
    for name in (*operation.form_class.base_fields, "next"):
        parameters.pop(name, None)
    asking = copy(request)
    asking.GET = QueryDict(parameters.urlencode())
    return asking


def _rehearsed(
    operation: Operation, request: HttpRequest, rows: QuerySet[Any], form: ReasonForm
) -> tuple[Rehearsal | None, str]:
    """What the operation would do, or why it would be refused; nothing while the form says nothing valid."""
    if not (operation.can_rehearse and "rehearse" in request.POST) or not form.is_valid():
        return None, ""
    reason = form.cleaned_data["reason"] or "Rehearsal"
    try:
        return rehearse(lambda: operation.carry_out(rows, actor=actor_of(request), reason=reason, form=form)), ""
    except Refused as refusal:
        return None, str(refusal)


def counted(count: int, noun: str) -> str:
    """`1 event`, `1,200 events`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def actor_of(request: HttpRequest) -> str:
    """The name under which the audit log knows who asked."""
    return request.user.get_username()


def offers_on(request: HttpRequest, row: Model, *names: str) -> list[dict[str, Any]]:
    """What this person may start on the row now, as its own page offers it; of these operations alone, if any."""
    owner = admin.site.get_model_admin(type(row))
    found = owner.offers(request, row) if isinstance(owner, OperationsMixin) else []
    return [offer for offer in found if not names or offer["operation"].name in names]


class OperationsMixin(ModelAdmin):
    """Offers a model's operations on its list and on each row's page."""

    operations: ClassVar[Sequence[Operation]] = ()
    list_before_template = "operations/list.html"
    change_form_outer_before_template = "operations/row.html"

    # --- where they are offered ---------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        opts = self.opts
        wrap = self.admin_site.admin_view
        urls = []
        for operation in self.operations:
            name = f"{opts.app_label}_{opts.model_name}_{operation.name}"
            if operation.on_all:
                urls.append(path(f"do/{operation.name}/", wrap(partial(self._on_all, operation)), name=f"{name}_all"))
            if operation.on_one:
                view = wrap(partial(self._on_one, operation))
                urls.append(path(f"<path:object_id>/do/{operation.name}/", view, name=name))
        return urls + super().get_urls()

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        for operation in self.operations:
            if operation.on_selection and operation.permitted(request):
                run = partial(self._on_selection, operation)
                actions[operation.name] = (run, operation.name, f"{operation.label}…")
        return actions

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        offered = [
            {"operation": operation, "url": self._url(f"{operation.name}_all")}
            for operation in self.operations
            if operation.on_all and operation.permitted(request)
        ]
        return super().changelist_view(request, {"list_operations": offered, **(extra_context or {})})

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        row = kwargs.get("obj")
        context["row_operations"] = self.offers(request, row) if row is not None else []
        return super().render_change_form(request, context, **kwargs)

    def offers(self, request: HttpRequest, row: Model) -> list[dict[str, Any]]:
        """What this person may start on this row now: dictionaries of `operation` and `url`, its confirmation page."""
        return [
            {"operation": operation, "url": self._row_url(operation.name, row)}
            for operation in self.operations
            if operation.on_one and operation.permitted(request) and operation.offered(row)
        ]

    def _url(self, page: str, *args: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}", args=args)

    def _row_url(self, page: str, row: Model) -> str:
        # Quoted: the page would take the "_3F" of an id that is text for a question mark.
        return self._url(page, quote(row.pk))

    # --- how they are confirmed -----------------------------------------------------------------

    def _on_one(self, operation: Operation, request: HttpRequest, object_id: str) -> HttpResponseBase:
        if not operation.permitted(request):
            raise PermissionDenied  # before saying whether the row exists
        try:
            rows = self._rows(request).filter(pk=unquote(object_id))
            row = rows.first()
        except (ValidationError, ValueError) as error:
            raise Http404(f"No {self.opts.verbose_name} has this id.") from error
        if row is None:
            raise Http404(f"No {self.opts.verbose_name} has this id.")
        back = request.GET.get("next", "")
        if not back.startswith("/admin/"):
            back = self._row_url("change", row)
        return self._confirm(operation, request, rows, back=back, single=True)

    def _rows(self, request: HttpRequest) -> QuerySet[Any]:
        """With what their names are made of, as in the list."""
        joined = self.list_select_related
        return self.get_queryset(request).select_related(*joined) if joined else self.get_queryset(request)

    def _on_all(self, operation: Operation, request: HttpRequest) -> HttpResponseBase:
        """On the rows that the list shows, on all its pages: the address carries the list's filters and search."""
        if operation.makes_new:
            return self._confirm(operation, request, self._rows(request), back=self._list_url())
        if not operation.permitted(request):
            raise PermissionDenied  # before saying what is in the list
        try:
            shown = self.get_changelist_instance(_asking_for_list(request, operation))
        except IncorrectLookupParameters:  # as the list itself answers
            return HttpResponseRedirect(f"{self._list_url()}?{ERROR_FLAG}=1")
        back = self._list_url() + (shown.as_shown if shown.narrowed else "")
        return self._confirm(operation, request, shown.queryset, back=back, narrowed=shown.narrowed)

    def _on_selection(
        self, operation: Operation, model_admin: Any, request: HttpRequest, rows: QuerySet[Any]
    ) -> HttpResponseBase:
        chosen = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
        hidden = [("action", operation.name), ("select_across", request.POST.get("select_across", "0"))]
        hidden += [(helpers.ACTION_CHECKBOX_NAME, pk) for pk in chosen]
        return self._confirm(operation, request, rows, back=request.get_full_path(), hidden=hidden)

    def _confirm(
        self,
        operation: Operation,
        request: HttpRequest,
        rows: QuerySet[Any],
        *,
        back: str,
        hidden: Sequence[tuple[str, str]] = (),
        single: bool = False,
        narrowed: str = "",
    ) -> HttpResponseBase:
        if not operation.permitted(request):
            raise PermissionDenied
        # A selection from the list posts without having seen this page: only its own button confirms.
        confirmed = request.method == "POST" and "confirmed" in request.POST
        looked_at = "rehearse" in request.POST if operation.can_rehearse else operation.has_preview
        previewed = request.method == "POST" and looked_at and not confirmed
        applicable = operation.applicable(rows)
        if single:
            len(applicable)  # read once, for the form, the count and the name
        # A link may fill in what the form asks for.
        initial = request.GET.dict()
        form = operation.form_class(request.POST if confirmed or previewed else None, initial=initial, rows=applicable)
        form.is_confirmed, form.narrowed = confirmed, narrowed
        form.token = request.POST.get("token", "") if confirmed else ""
        form.shown = request.POST.get("shown", "") if confirmed else ""
        form.fields["reason"].required = not previewed
        if confirmed and form.is_valid() and (operation.makes_new or applicable.exists()):
            return self._carry_out(operation, request, applicable, form, back)
        if form.token and (told := operation.recall(form.token)):
            messages.warning(request, told)
            return HttpResponseRedirect(back)
        return self._page(operation, request, rows, applicable, form, back=back, hidden=hidden)

    def _carry_out(
        self, operation: Operation, request: HttpRequest, rows: QuerySet[Any], form: ReasonForm, back: str
    ) -> HttpResponseBase:
        if form.token and operation.once and not form_token.use(form.token):
            messages.warning(request, f"{operation.label}: this form was sent before, and is carried out once.")
            return HttpResponseRedirect(back)
        try:
            changed = operation.carry_out(rows, actor=actor_of(request), reason=form.cleaned_data["reason"], form=form)
        except Refused as refusal:
            level = messages.WARNING if isinstance(refusal, Notice) else messages.ERROR
            messages.add_message(request, level, str(refusal))
            return HttpResponseRedirect(back)
        except self.model.DoesNotExist:
            # Confirmed twice at once: the other one was first, and nothing is left to do.
            messages.warning(request, f"{operation.label}: somebody has done this already.")
            return HttpResponseRedirect(back)
        messages.success(request, changed)
        return operation.respond(request, form, back)

    def _page(
        self,
        operation: Operation,
        request: HttpRequest,
        wanted: QuerySet[Any],
        rows: QuerySet[Any],
        form: ReasonForm,
        *,
        back: str,
        hidden: Sequence[tuple[str, str]],
    ) -> HttpResponse:
        count = 0 if operation.makes_new else rows.count()
        possible = count or operation.makes_new
        preview, refusal = _previewed(operation, rows, form) if possible else (None, "")
        rehearsal, refused = _rehearsed(operation, request, rows, form) if possible else (None, "")
        hidden = [*hidden, ("token", form_token.new())]
        context = {
            **self.admin_site.each_context(request),
            "title": operation.label,
            "opts": self.opts,
            "operation": operation,
            "effect": operation.effect(count),
            "count": count,
            "narrowed": form.narrowed,
            "every_row": request.path,
            "possible": possible,
            "nothing": "" if possible else operation.nothing(wanted.first()),
            "names": [operation.describe(row) for row in rows[:SHOWN]] if count else [],
            "others": max(count - SHOWN, 0),
            "form": form,
            "back": back,
            "hidden": [*hidden, ("shown", preview.shown)] if preview else hidden,
            "preview": preview,
            "rehearsal": rehearsal,
            "refusal": refusal or refused,
            "may_confirm": preview is not None or not operation.has_preview,
        }
        return TemplateResponse(request, "operations/confirm.html", context)

    def _list_url(self) -> str:
        return self._url("changelist")
