"""A benchmark on an empty database of its own, made and dropped again."""

import argparse
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

VAR = Path(__file__).resolve().parents[1] / "var"


def run(
    name: str,
    doc: str | None,
    measure: Callable[[], dict[str, float]],
    publish: Callable[[dict[str, float], Path], bool],
    **settings: Any,
) -> int:
    """Measure and publish, with Django set up and these settings; returns the exit status.

    `publish` gets the figures and where they go, var/benchmarks/NAME.json or --json, and returns whether all promises
    were kept. `doc` is what --help says.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = VAR / "benchmarks" / f"{name}.json"
    parser.add_argument("--json", type=Path, default=default, help="where the figures go")
    options = parser.parse_args()

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    logging.disable(logging.WARNING)
    from django.conf import settings as configured

    from tests.support import database

    for setting, value in settings.items():
        setattr(configured, setting, value)
    test_database = database.create_for(f"{name}_benchmark")
    try:
        figures = measure()
    finally:
        database.drop(test_database)
        if configured.TEST_SERVER:
            configured.TEST_SERVER.stop()
    return 0 if publish(figures, options.json) else 1
