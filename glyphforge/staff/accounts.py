"""The pages of accounts and roles: Django's, on which every change takes a reason for the audit log."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.hashers import is_password_usable
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString, mark_safe
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from glyphforge import audit
from glyphforge.admin.model_admin import ModelAdmin
from glyphforge.admin.reason import LONGEST, SHORTEST, ReasonField
from glyphforge.staff.names import require_free


class _WithReason(forms.Form):
    reason = ReasonField()


class _Named(forms.ModelForm):
    """Names no account as a program is named; one that is called so already keeps its name."""

    def clean_username(self) -> str:
        """The name; raises ValidationError for one that programs act under, and for another account's."""
        inherited = getattr(super(), "clean_username", None)
        name: str = inherited() if inherited else self.cleaned_data["username"]
        if "username" in self.changed_data:
            require_free(name)
        return name


class _PasswordState(forms.Widget):
    """Whether there is a password; Django's shows salt and beginning of its hash, to auditors too."""

    read_only = True

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Text alone: nothing of the hash."""
        return mark_safe("Set." if value and is_password_usable(value) else "None.")  # noqa: S308 - constants


class AccountForm(_WithReason, _Named, UserChangeForm):
    """An account's data, without what is left of its password's hash."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].widget = _PasswordState()


class NewAccountForm(_WithReason, _Named, UserCreationForm):
    """A new account's name and password."""


class RoleForm(_WithReason, forms.ModelForm):
    """A role's name and permissions."""


class PasswordForm(_WithReason, AdminPasswordChangeForm):
    """Somebody else's new password."""


class Reasoned(ModelAdmin):
    """Writes the reason beside whatever a page changes; without one nothing is changed.

    The forms of a model's pages bring the field along. One row is deleted at a time.
    """

    delete_confirmation_template = "staff/delete.html"

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Django's form, whose changes carry its reason."""
        with _reason_of(request):
            return super().changeform_view(request, *args, **kwargs)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's deletion; without a reason a message says so, and nothing is deleted."""
        form = _WithReason(request.POST if request.method == "POST" else None)
        if request.method == "POST" and not form.is_valid():
            messages.error(request, f"Nothing was deleted: a reason of {SHORTEST} to {LONGEST} characters is needed.")
            return HttpResponseRedirect(request.get_full_path())
        with _reason_of(request):
            return super().delete_view(request, object_id, {"reason_form": form, **(extra_context or {})})

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without the deletion of many."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions


def _reason_of(request: HttpRequest) -> Any:
    return audit.acting_as(reason=request.POST.get("reason", "").strip() or None)


admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class AccountAdmin(Reasoned, UserAdmin):  # type: ignore[misc]  # Reasoned decides
    """Who may sign in, and as what."""

    form = AccountForm
    add_form = NewAccountForm
    change_password_form = PasswordForm
    change_user_password_template = "staff/account_password.html"  # noqa: S105
    fieldsets = (*(UserAdmin.fieldsets or ()), ("Why", {"fields": ("reason",)}))
    add_fieldsets = (*UserAdmin.add_fieldsets, ("Why", {"fields": ("reason",)}))

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Django's form for somebody else's password, whose change carries its reason."""
        with _reason_of(request):
            return super().user_change_password(request, id, form_url)


@admin.register(Group)
class RoleAdmin(Reasoned, GroupAdmin):  # type: ignore[misc]
    """What each role may do; those that the product defines are made anew by the next `migrate`."""

    form = RoleForm
    fields = ("name", "permissions", "reason")
