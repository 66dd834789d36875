"""Addresses of the back office, and the operations that its pages offer."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.urls import reverse

from glyphforge.admin import sidebar
from glyphforge.admin.operations import Operation, OperationsMixin

# What the form of an operation is sent with.
CONFIRMED = {"confirmed": "yes", "reason": "Ticket 4711"}


def page_of(model: Any, page: str = "changelist", *args: Any) -> str:
    """A page of a model: its list, or another by its name in the admin's URLs."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def row_page(row: Any, page: str = "change") -> str:
    """A page of one row: its own, or of an operation on it by the operation's name."""
    return page_of(row, page, row.pk)


def operations() -> Iterator[tuple[str, Any, Operation]]:
    """Every operation of every model but the exports, which only read; named like `billing.user.suspend`."""
    for model, owner in admin.site._registry.items():
        if isinstance(owner, OperationsMixin):
            for operation in owner.operations:
                if operation.name != "export":
                    yield f"{model._meta.label_lower}.{operation.name}", model, operation


def lists_of(role: str) -> list[str]:
    """The lists of navigation that the staff account named like the role may view."""
    request = HttpRequest()
    request.user = get_user_model().objects.get(username=role)
    return [str(item["link"]) for item in sidebar.items() if item["permission"](request)]
