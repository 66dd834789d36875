"""Customers and what is theirs as files."""

from glyphforge.admin.export import Export

PERMISSION = "billing.export_lists"
CUSTOMERS = Export(PERMISSION)
OF_CUSTOMERS = Export(PERMISSION, {"email": "user__email", "name": "user__name"})
