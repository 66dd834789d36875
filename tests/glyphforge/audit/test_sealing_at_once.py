"""Sealing, while others write: no row is left out for good, and nobody waits."""

import pytest

from glyphforge.audit import seals
from tests.support.database import session
from tests.support.sql import scalar

pytestmark = pytest.mark.django_db(transaction=True)

WRITE = "SELECT record_audit('note', 'users')"
SEAL = "SELECT seal_audit_log(100000, 0)"


@pytest.fixture(autouse=True)
def _sealed(db: None) -> None:
    assert scalar(SEAL) > 0


def test_row_of_an_open_transaction_is_sealed_once_it_is_there() -> None:
    with session() as slow:
        early = slow.execute(WRITE).fetchone()[0]
        late = scalar(WRITE)
        assert early < late
        assert scalar(SEAL) == 0
        slow.commit()
    assert scalar(SEAL) == 2
    assert seals.verify() is None


def test_row_that_was_undone_holds_nothing_up() -> None:
    with session() as slow:
        slow.execute(WRITE)
        slow.rollback()
        scalar(WRITE)
        assert scalar(SEAL) == 1


def test_writers_do_not_wait_for_the_seal() -> None:
    scalar(WRITE)
    with session() as sealer, session() as writer:
        assert sealer.execute(SEAL).fetchone()[0] == 1
        writer.execute("SET lock_timeout = '1ms'")
        writer.execute(WRITE)
        writer.commit()
        sealer.commit()
    assert scalar(SEAL) == 1
    assert seals.verify() is None
