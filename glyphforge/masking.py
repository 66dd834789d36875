"""Takes secrets out of text that people or programs wrote, before it is stored, logged or reported."""

import re

MASK = "[masked]"
_SECRETS = re.compile(
    r"""
      (?P<key>glyph_sk_(?:dev|test|live)_[0-9A-Za-z]{8})[0-9A-Za-z]+   # the prefix may be shown, the rest never
    | \b(?:sk|rk)_(?:live|test)_[0-9A-Za-z]{8,}                        # Stripe's API keys
    | \bwhsec_[0-9A-Za-z+/=]{8,}                                       # and webhook secrets
    | \$2[aby]\$\d\d\$[./0-9A-Za-z]{53}                                # bcrypt hashes
    | (?<=[Bb]earer[ ])[-._~+/0-9A-Za-z]{8,}=*
    | \beyJ[-_0-9A-Za-z]{8,}\.[-_0-9A-Za-z]{8,}\.[-_0-9A-Za-z]*        # JSON web tokens
    | (?<=hooks\.slack\.com/services/)[/0-9A-Za-z]+
    | (?<=://)[^\s/:@]*:[^\s/@]+(?=@)                                  # user and password in a URL
    """,
    re.VERBOSE,
)


def mask(text: str) -> str:
    """The text without keys, hashes, tokens and passwords; a customer's key keeps the prefix that support may see."""
    return _SECRETS.sub(lambda match: f"{match['key']}…{MASK}" if match["key"] else MASK, text)
