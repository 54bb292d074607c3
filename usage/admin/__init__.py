"""Usage in the operator site."""

from usage.admin import imports, records

__all__ = ["imports", "records"]
