"""Names, addresses and ids that look like life and belong to nobody: domains and networks reserved for examples."""

import json
import random
import string
import uuid
from datetime import datetime
from pathlib import Path

NAMES: dict[str, list[str]] = json.loads(Path(__file__).with_name("names.json").read_text(encoding="utf-8"))
MAIL_PROVIDERS = ("mail.example", "post.example", "inbox.example")
WORD = string.ascii_letters + string.digits


def new_uuid(rng: random.Random) -> uuid.UUID:
    """A UUID of version 4 drawn from `rng`: the same seed gives the same ids."""
    return uuid.UUID(int=rng.getrandbits(128), version=4)


def stripe_id(rng: random.Random, prefix: str, length: int = 24) -> str:
    """An id as Stripe forms them: `sub_` and random letters and digits."""
    return f"{prefix}_{''.join(rng.choices(WORD, k=length))}"


def full_name(rng: random.Random) -> str:
    """A first and a last name out of `names.json`; namesakes occur."""
    return f"{rng.choice(NAMES['first'])} {rng.choice(NAMES['last'])}"


def address(rng: random.Random, name: str, number: int, *, at_work: bool) -> str:
    """An e-mail address made from the name; `number` keeps namesakes apart."""
    local = name.lower().replace(" ", ".").replace("ü", "ue").replace("ø", "oe")
    domain = f"{rng.choice(NAMES['companies'])}.example" if at_work else rng.choice(MAIL_PROVIDERS)
    return f"{local}{number}@{domain}"


def ip_address(rng: random.Random) -> str:
    """An address of the networks for documentation (RFC 5737, RFC 3849)."""
    if rng.random() < 0.15:
        return f"2001:db8:{rng.getrandbits(16):x}::{rng.getrandbits(16):x}"
    return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randint(1, 254)}"


def whole_seconds(moment: datetime) -> datetime:
    """The moment as Stripe would have it: it counts in seconds."""
    return moment.replace(microsecond=0)


def unusable_hash(rng: random.Random) -> str:
    """A text in bcrypt's format that is the hash of no key: real ones cost a tenth of a second each."""
    return "$2b$12$" + "".join(rng.choices("./" + WORD, k=53))
