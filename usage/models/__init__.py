"""The tables of what was consumed: imports, slices with their records, and what was rated of them."""

from usage.models.imports import UsageFilePart, UsageImport, UsageImportError, UsageImportStatus, UsageSource
from usage.models.rated import RatedKind, RatedUsage
from usage.models.records import UsageRecord, UsageSlice

__all__ = [
    "RatedKind",
    "RatedUsage",
    "UsageFilePart",
    "UsageImport",
    "UsageImportError",
    "UsageImportStatus",
    "UsageRecord",
    "UsageSlice",
    "UsageSource",
]
