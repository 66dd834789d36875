import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.keys import format as key_format
from glyphforge.audit.masking import MASK, mask

checked = settings(deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize(("environment", "word"), [("development", "dev"), ("staging", "test"), ("production", "live")])
def test_key_names_its_environment_and_has_32_characters_more(environment: str, word: str) -> None:
    raw_key = key_format.generate(environment)
    assert raw_key.startswith(f"glyph_sk_{word}_")
    assert len(raw_key.rsplit("_", 1)[1]) == 32
    assert key_format.is_well_formed(raw_key)


def test_unknown_environment_gets_no_key() -> None:
    with pytest.raises(ValueError, match="narnia"):
        key_format.generate("narnia")


@checked
@given(position=st.integers(0, 31), replacement=st.sampled_from(key_format.ALPHABET))
def test_any_mistyped_character_is_noticed(position: int, replacement: str) -> None:
    raw_key = key_format.generate("production")
    start = len("glyph_sk_live_") + position
    mistyped = raw_key[:start] + replacement + raw_key[start + 1 :]
    assert key_format.is_well_formed(mistyped) == (mistyped == raw_key)


@checked
@given(st.text())
def test_no_other_text_is_a_key(text: str) -> None:
    assert not key_format.is_well_formed(text)
    assert not key_format.is_well_formed("glyph_sk_live_" + text)


def test_a_key_of_one_environment_is_not_one_of_another() -> None:
    assert not key_format.is_well_formed(key_format.generate("production").replace("_live_", "_test_"))


def test_the_prefix_keeps_most_of_the_key_secret() -> None:
    raw_key = key_format.generate("production")
    assert key_format.prefix_of(raw_key) == key_format.key_prefix(raw_key) == raw_key[:22]
    assert key_format.prefix_of(raw_key[:20]) is None


@pytest.mark.parametrize("environment", key_format.WORDS)
def test_what_is_masked_is_all_but_the_prefix(environment: str) -> None:
    raw_key = key_format.generate(environment)
    assert mask(raw_key) == f"{key_format.key_prefix(raw_key)}…{MASK}"
