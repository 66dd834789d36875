"""The audit log: who changed what, when and why."""

from glyphforge.audit.context import Context, acting_as, current, record, record_read

__all__ = ["Context", "acting_as", "current", "record", "record_read"]
