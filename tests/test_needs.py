"""A missing tool is a failure in CI and a skip elsewhere."""

import pytest

from tests.support.needs import needs, require


@pytest.mark.parametrize("check", [needs, require])
def test_missing_tool_fails_in_ci(check: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs a hammer"):
        check(None, "a hammer")  # type: ignore[operator]


def test_missing_tool_is_a_skip_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert needs(None, "a hammer").mark.args == (True,)
    with pytest.raises(pytest.skip.Exception, match="needs a hammer"):
        require(None, "a hammer")


def test_present_tool_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert needs("/usr/bin/hammer", "a hammer").mark.args == (False,)
    require("/usr/bin/hammer", "a hammer")
