"""Renewing by itself what is due: subscriptions whose term has ended get their next terms, a set at a time.

Doing it again changes nothing, for what was renewed is not due any more. Each part is a transaction of its own, unless
the caller has one open.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import QuerySet

from accounts.models import NumberPurpose
from accounts.numbering import take_numbers
from billing.models import (
    Order,
    OrderAction,
    OrderActionType,
    OrderStatus,
    Subscription,
    SubscriptionStatus,
    SubscriptionTerm,
    TermType,
)
from billing.services.order_loading import lock_accounts
from billing.services.order_writing import update_rows
from billing.services.subscription_terms import append_term, next_term_end, renewal_facts

PART = 2_000
# Of a term of days that nobody renewed for years; what is left is renewed by the next part.
TERMS_AT_ONCE = 12
DESCRIPTION = "Renewed automatically"

Scope = Collection[int] | QuerySet[Any] | None

# A subscription that is suspended is not renewed: whether it goes on at all is told by its resumption.
RENEWABLE = [SubscriptionStatus.ACTIVE, SubscriptionStatus.PENDING_ACTIVATION, SubscriptionStatus.PENDING_ACCEPTANCE]


class _Renewal(NamedTuple):
    """One term that was added to a subscription."""

    subscription: Subscription
    term: SubscriptionTerm


def renew_due(
    target_date: date,
    account_ids: Scope = None,
    *,
    order_date: date | None = None,
    user_id: int | None = None,
) -> int:
    """Renew every subscription with auto-renew whose term ends by `target_date`, until it ends later.

    `account_ids` are those of invoice owners, or a query of them (None: all). Writes the terms, and an order for each account with an
    action for each term, dated `order_date` (else the target date). Returns the number of terms.
    """
    added = 0
    while True:
        with transaction.atomic():
            renewals = _renew_part(target_date, account_ids)
            _write_orders(renewals, order_date or target_date, user_id)
        if not renewals:
            return added
        added += len(renewals)


def _due(target_date: date, account_ids: Scope) -> QuerySet[Subscription]:
    found = Subscription.objects.filter(
        auto_renew=True, term_type=TermType.TERMED, status__in=RENEWABLE, term_end__lte=target_date
    )
    return found if account_ids is None else found.filter(invoice_owner__in=account_ids)


def _renew_part(target_date: date, account_ids: Scope) -> list[_Renewal]:
    part = _due(target_date, account_ids).order_by("invoice_owner_id", "id")[:PART]
    wanted = dict(part.values_list("id", "invoice_owner_id"))
    if not wanted:
        return []
    lock_accounts(wanted.values())
    # What was due before the locks may have been renewed or canceled meanwhile.
    rows = list(_due(target_date, account_ids).filter(pk__in=wanted).order_by("id"))
    terms: dict[int, list[SubscriptionTerm]] = defaultdict(list)
    for term in SubscriptionTerm.objects.filter(subscription__in=rows).order_by("number"):
        terms[term.subscription_id].append(term)
    renewals: list[_Renewal] = []
    for row in rows:
        history = terms[row.pk]
        if not history:
            history.append(SubscriptionTerm(subscription_id=row.pk, number=1, start=row.term_start, end=row.term_end))
        renewals += _renewed(row, history, target_date)
    update_rows(Subscription, ["term_start", "term_end"], ((row.pk, row.term_start, row.term_end) for row in rows))
    SubscriptionTerm.objects.bulk_create(term for history in terms.values() for term in history if term.pk is None)
    return renewals


def _renewed(row: Subscription, history: list[SubscriptionTerm], target_date: date) -> list[_Renewal]:
    found: list[_Renewal] = []
    while row.term_end is not None and row.term_end <= target_date and len(found) < TERMS_AT_ONCE:
        end = next_term_end(history[0], row.term_end, row.renewal_months)
        if end is None:
            break
        found.append(_Renewal(row, append_term(row, history, end)))
    return found


def _write_orders(renewals: Sequence[_Renewal], order_date: date, user_id: int | None) -> None:
    if not renewals:
        return
    by_account: dict[int, list[_Renewal]] = defaultdict(list)
    for renewal in renewals:
        by_account[renewal.subscription.account_id].append(renewal)
    numbers = take_numbers(NumberPurpose.ORDER, len(by_account))
    orders = Order.objects.bulk_create(
        Order(
            number=number,
            account_id=account_id,
            order_date=order_date,
            status=OrderStatus.COMPLETED,
            description=DESCRIPTION,
            created_by_id=user_id,
        )
        for number, account_id in zip(numbers, by_account, strict=True)
    )
    OrderAction.objects.bulk_create(
        OrderAction(
            order=order,
            position=position,
            kind=OrderActionType.RENEW_SUBSCRIPTION,
            subscription=renewal.subscription,
            effective_date=renewal.term.start,
            delta_mrr=0,
            details=renewal_facts(renewal.term.start, renewal.term.end),
        )
        for order, of_account in zip(orders, by_account.values(), strict=True)
        for position, renewal in enumerate(of_account, start=1)
    )
