"""The account of any size pages as Stripe does, whatever is asked of it."""

import pytest

from demo.stripe.large import LargeWorld
from demo.stripe.world import RefusalError
from glyphforge.rows import Json


def listed(world: LargeWorld, collection: str, **params: object) -> list[Json]:
    found: list[Json] = []
    while True:
        answer = world.page(collection, {"limit": "100"} | params)
        found += answer["data"]
        if not answer["has_more"]:
            return found
        params["starting_after"] = found[-1]["id"]


@pytest.mark.parametrize(
    ("collection", "number"),
    [("customers", 230), ("subscriptions", 230), ("invoices", 460), ("charges", 460), ("disputes", 2), ("prices", 5)],
)
def test_each_object_is_listed_once_newest_first_and_found_by_its_id(collection: str, number: int) -> None:
    world = LargeWorld(230)
    found = listed(world, collection)
    assert len({item["id"] for item in found}) == len(found) == number
    assert [item["created"] for item in found] == sorted((item["created"] for item in found), reverse=True)
    assert world.retrieve(collection, found[-1]["id"]) == found[-1]


def test_of_one_customer() -> None:
    world = LargeWorld(230)
    (customer, *_) = listed(world, "customers")
    charges = listed(world, "charges", customer=customer["id"], expand=["data.customer"])
    assert [charge["customer"]["id"] for charge in charges] == [customer["id"]] * 2
    assert listed(world, "disputes", charge="ch_large100n0")[0]["charge"] == "ch_large100n0"
    with pytest.raises(RefusalError, match="cus_large231n0"):
        world.retrieve("customers", "cus_large231n0")
