"""How a key reads: `glyph_sk_<dev|test|live>_`, 26 random base62 characters, 6 of checksum.

The checksum tells a mistyped or cut-off key from a wrong one without asking anybody; it proves nothing else.
"""

import re
import secrets
import string
import zlib

from billing.models import ApiKey

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH = 26  # 154 bits
CHECKSUM_LENGTH = 6  # 62**6 > 2**32
PREFIX_LENGTH = 8  # of the random characters; the 18 that stay secret are 107 bits
WORDS = {
    ApiKey.Environment.DEVELOPMENT: "dev",
    ApiKey.Environment.STAGING: "test",
    ApiKey.Environment.PRODUCTION: "live",
}
BEGINS = "glyph_sk_"
PREFIX_PATTERN = rf"{BEGINS}(?:{'|'.join(WORDS.values())})_[0-9A-Za-z]{{{PREFIX_LENGTH}}}"
_KEY = re.compile(rf"{PREFIX_PATTERN}[0-9A-Za-z]{{{RANDOM_LENGTH - PREFIX_LENGTH + CHECKSUM_LENGTH}}}")
_PREFIX = re.compile(PREFIX_PATTERN)


def generate(environment: str) -> str:
    """Make a new random key of the environment; ValueError for an environment that is none."""
    word = WORDS[ApiKey.Environment(environment)]
    body = f"{BEGINS}{word}_{''.join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))}"
    return body + _checksum(body)


def is_well_formed(raw_key: str) -> bool:
    """Whether the text can be a key at all: shape and checksum. Says nothing about whether it was ever issued."""
    return bool(_KEY.fullmatch(raw_key)) and _checksum(raw_key[:-CHECKSUM_LENGTH]) == raw_key[-CHECKSUM_LENGTH:]


def key_prefix(raw_key: str) -> str:
    """The part of a well-formed key that may be stored and shown; see `prefix_of` for any other text."""
    return raw_key[: -(RANDOM_LENGTH - PREFIX_LENGTH + CHECKSUM_LENGTH)]


def prefix_of(text: str) -> str | None:
    """The part of a key, or of anything that begins like one, that may be stored and shown; None without one."""
    match = _PREFIX.match(text)
    return match.group() if match else None


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode("ascii"))
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
