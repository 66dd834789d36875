#!/usr/bin/env python
"""Run a Django command against the back office."""

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    """Hand the command line to Django, with `glyphforge.settings` where DJANGO_SETTINGS_MODULE names no others."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "glyphforge.settings")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
