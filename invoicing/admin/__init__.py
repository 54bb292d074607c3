"""Pages of invoicing, side by side in the sidebar."""

from invoicing.admin import bill_runs, invoices, usage

__all__ = ["bill_runs", "invoices", "usage"]
