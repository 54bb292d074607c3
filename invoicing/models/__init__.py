"""The tables of what was charged: bill runs, invoices with their coverage, documents and deliveries."""

from invoicing.models.bill_runs import (
    AccountOutcome,
    BillRun,
    BillRunAccount,
    BillRunChunk,
    BillRunSchedule,
    BillRunScope,
    BillRunStatus,
    ChunkState,
)
from invoicing.models.delivery import DeliveryState, InvoiceDelivery
from invoicing.models.documents import InvoiceDocument
from invoicing.models.invoices import Coverage, Invoice, InvoiceItem, InvoiceStatus
from invoicing.models.totals import InvoicedTotal

__all__ = [
    "AccountOutcome",
    "BillRun",
    "BillRunAccount",
    "BillRunChunk",
    "BillRunSchedule",
    "BillRunScope",
    "BillRunStatus",
    "ChunkState",
    "Coverage",
    "DeliveryState",
    "Invoice",
    "InvoiceDelivery",
    "InvoiceDocument",
    "InvoiceItem",
    "InvoiceStatus",
    "InvoicedTotal",
]
