"""Put lines on invoices: lines share a draft if and only if their grouping keys are equal (domain.md 9.1, I21)."""

from collections.abc import Iterable
from operator import attrgetter

from billing.core.types import Account, Draft, GroupingKey, Line

__all__ = ["GroupingKey", "group"]

_PLACE = attrgetter("subscription_id", "charge_number", "period")


def group(account: Account, lines: Iterable[Line]) -> list[Draft]:
    """Return the drafts that hold `lines`, each line on exactly one, the same whatever order the lines come in.

    Drafts: shared invoice first, then separate ones by subscription. Lines: subscription, charge number, period.
    """
    by_subscription: dict[int | None, list[Line]] = {}
    for line in sorted(lines, key=_PLACE):
        by_subscription.setdefault(line.subscription_id if line.invoice_separately else None, []).append(line)
    # The lines came sorted by subscription, and so did the separate invoices; the shared one may lie among them.
    shared = by_subscription.pop(None, None)
    drafts = [Draft(_key(account, None), shared)] if shared else []
    for subscription_id, found in by_subscription.items():
        drafts.append(Draft(_key(account, subscription_id), found))
    return drafts


def _key(account: Account, subscription_id: int | None) -> GroupingKey:
    return GroupingKey(
        account.account_id,
        account.currency.code,
        account.bill_to_id,
        account.payment_term_id,
        account.template_id,
        account.sequence_id,
        subscription_id,
        "",
    )
