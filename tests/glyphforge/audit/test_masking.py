import pytest

from glyphforge.audit.masking import found_in, mask


@pytest.mark.parametrize(
    "secret",
    [
        "sk_live_51HabcdefGHIJKL",
        "rk_test_51HabcdefGHIJKL",
        "sk_org_live_51HabcdefGHIJKL",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
    ],
)
def test_secrets_vanish_from_text(secret: str) -> None:
    assert mask(f"found ({secret}) there") == "found ([masked]) there"


def test_a_customers_key_keeps_its_prefix() -> None:
    assert mask("key glyph_sk_live_1a2B3c4DsecretSECRET0123 leaked") == "key glyph_sk_live_1a2B3c4D…[masked] leaked"


def test_passwords_and_tokens_in_urls_and_headers_vanish() -> None:
    assert mask("postgresql://app:hunter2@db:5432/x") == "postgresql://[masked]@db:5432/x"
    assert mask("smtp+tls://app:p@ss:word@host:587") == "smtp+tls://[masked]@host:587"
    assert mask("aws_secret_access_key=abc DJANGO_SECRET_KEY: 'abc'") == (
        "aws_secret_access_key=[masked] DJANGO_SECRET_KEY: '[masked]'"
    )
    assert mask("Authorization: Basic YWRhOnB3MTIz==") == "Authorization: Basic [masked]"
    assert mask("Authorization: Bearer abcdefgh12345678==") == "Authorization: Bearer [masked]"
    assert mask("https://hooks.slack.com/services/T000/B000/XXXX") == "https://hooks.slack.com/services/[masked]"


def test_other_text_stays() -> None:
    text = "customer cus_NffrFeUfNV2Hib, event evt_1, prefix glyph_sk_live_1a2B3c4D, $12 at https://example.com:8000/x"
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("paid with 4242 4242 4242 4242 by phone", "a card number"),
        ("5555-5555-5555-4444", "a card number"),
        ("card 378282246310005", "a card number"),
        ("2223003122003222.", "a card number"),
        ("password hunter2", "a password"),
        ("the password is Tr0ub4dor", "a password"),
        ("PIN: 1234", "a password"),
        ("4242 4242 4242 4243", None),
        ("call +4915112345678901", None),
        ("invoice 1234567890123456", None),
        ("in_1MtHbELkdIwHu7ixl4OzzPMv of 2026-05-01", None),
        ("The password was reset, ticket 4711", None),
        ("ids 10-20-30-40-50-60-70", None),
    ],
)
def test_cards_and_passwords_are_found(text: str, found: str | None) -> None:
    assert found_in(text) == found
