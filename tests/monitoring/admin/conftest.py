from tests.billing.admin.conftest import signed_in

__all__ = ["signed_in"]
