"""Takes secrets out of text that people or programs wrote, before it is stored, logged or reported."""

import re
from collections.abc import Mapping
from typing import Any

MASK = "[masked]"
_SECRETS = re.compile(
    r"""
      (?P<key>glyph_sk_(?:dev|test|live)_[0-9A-Za-z]{8})[0-9A-Za-z]+   # the prefix may be shown, the rest never
    | \b(?:sk|rk)_(?:org_)?(?:live|test)_[0-9A-Za-z]{8,}               # Stripe's API keys
    | \bwhsec_[0-9A-Za-z+/=]{8,}                                       # and webhook secrets
    | \$2[aby]\$\d\d\$[./0-9A-Za-z]{53}                                # bcrypt hashes
    | (?<=[Bb]earer[ ])[-._~+/0-9A-Za-z]{8,}=*
    | \beyJ[-_0-9A-Za-z]{8,}\.[-_0-9A-Za-z]{8,}\.[-_0-9A-Za-z]*        # JSON web tokens
    | (?<=hooks\.slack\.com/services/)[/0-9A-Za-z]+
    | \b(?:AKIA|ASIA)[0-9A-Z]{16}\b                                     # AWS access keys
    | (?<=Authorization:[ ]Basic[ ])[+/0-9A-Za-z]+=*
    | (?<=://)[^\s/:@]*:[^\s/]+(?=@)                                   # user and password in a URL
    """,
    re.VERBOSE,
)
_ASSIGNED = re.compile(
    r"""((?:password|passwd|secret(?:_access)?(?:_key)?|token|api_?key|cookie)["']?\s*[=:]\s*["']?)[^\s"',;&}]+""",
    re.IGNORECASE,
)
# The audit triggers know the columns among them: audit_row_change().
SECRET_NAME = re.compile(
    r"password|passwd|secret|token|authorization|api_?key$|hash|cookie|signature|dsn", re.IGNORECASE
)


def mask(text: str) -> str:
    """The text without keys, hashes, tokens and passwords; a customer's key keeps the prefix that support may see.

    What has no place in a log: https://cheatsheetseries.owasp.org/cheatsheets/Logging_Cheat_Sheet.html#data-to-exclude
    """
    text = _SECRETS.sub(lambda match: f"{match['key']}…{MASK}" if match["key"] else MASK, text)
    return _ASSIGNED.sub(rf"\1{MASK}", text)


# Digits as cards show them, beginning as those of the great networks do, of 13 to 19; no number of a telephone.
_DIGITS = re.compile(r"(?<![\w.+-])(?=[3-6]|2[2-7])\d(?:[ -]?\d){12,18}(?![\w-])")
# A password that is told rather than assigned: a word with a digit behind the name of one.
_TOLD = re.compile(
    r"\b(?:password|passwd|passphrase|passcode|pin|cvc|cvv)\b\s*(?:(?:is|was|now|=|:)\s*)*(?=\S*\d)\S{3,}",
    re.IGNORECASE,
)


def found_in(text: str) -> str | None:
    """What of a card or a password the text holds, in words, or None: what may not even be kept masked."""
    if any(_is_card(re.sub(r"\D", "", match[0])) for match in _DIGITS.finditer(text)):
        return "a card number"
    return "a password" if _TOLD.search(text) else None


def _is_card(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (Luhn)."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(number // 10 + number % 10 for number in doubled) % 10 == 0


def mask_values(value: Any) -> Any:
    """A copy of nested dictionaries and lists with secrets masked, by the name of their key or by their form.

    Tuples and sets become lists. An empty value under a secret's name stays, as it gives nothing away.
    """
    if isinstance(value, Mapping):
        return {
            key: MASK if isinstance(key, str) and SECRET_NAME.search(key) and item else mask_values(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set):
        return [mask_values(item) for item in value]
    return mask(value) if isinstance(value, str) else value
