"""What a test needs of the machine: without it the test is skipped on somebody's laptop and fails in CI."""

import os

import pytest


def require(present: object, what: str) -> None:
    """Ends the test here unless `present`."""
    if not present:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {what}")


def needs(present: object, what: str) -> pytest.MarkDecorator:
    """The mark of a test, or of a whole file, that cannot run unless `present`; in CI its collection fails."""
    if not present and os.environ.get("CI"):
        pytest.fail(f"needs {what}", pytrace=False)
    return pytest.mark.skipif(not present, reason=f"needs {what}")
