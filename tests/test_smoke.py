"""The least that must hold before anything else is worth testing."""

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from billing.models import Plan

pytestmark = [pytest.mark.smoke, pytest.mark.django_db]


def test_models_and_migrations_agree() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_system_checks_find_nothing() -> None:
    call_command("check", fail_level="WARNING")


def test_plans_are_seeded() -> None:
    limits = dict(Plan.objects.values_list("tier", "monthly_request_limit"))
    assert limits == {"free": 100, "starter": 10_000, "professional": 100_000, "enterprise": None}


@pytest.mark.parametrize("model", list(apps.get_app_config("billing").get_models()), ids=lambda model: model.__name__)
def test_every_model_has_exactly_the_columns_of_its_table(model: type) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, is_nullable = 'YES' FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name = %s",
            [model._meta.db_table],
        )
        actual = dict(cursor.fetchall())
    expected = {field.column: field.null for field in model._meta.concrete_fields if field.column}
    if not model._meta.managed:  # a view's columns are nullable by definition
        actual, expected = dict.fromkeys(actual), dict.fromkeys(expected)
    assert expected == actual
