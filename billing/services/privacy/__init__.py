"""The privacy desk: everything about a person handed out, or erased."""
