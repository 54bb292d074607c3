"""A company at work: every few days customers order something, a run bills what is due, and drafts are posted or canceled.

orders      ^  ^^    ^   ^ ^      ^       dated up to forty days back and sixty ahead
runs        |  |  |     |    |  |  |      with days left out
drafts      P  P  x     .    P  .  P      posted, canceled and billed anew, or left for later
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Any

from accounts.models import Account
from billing.models import OrderAction, RatePlan, RatePlanCharge, Subscription, SubscriptionStatus, TermType
from billing.services.orders import (
    Action,
    AddProduct,
    CancelSubscription,
    CancelWhen,
    ChargeChange,
    NewSubscription,
    OrderRefusedError,
    RemoveProduct,
    RenewSubscription,
    Resume,
    Suspend,
    TermsAndConditions,
    UpdateProduct,
    place_order,
)
from invoicing import services
from invoicing.bill_run import run as engine
from invoicing.models import BillRun, BillRunScope, BillRunStatus, Invoice, InvoiceStatus
from invoicing.posting import CancelError
from tests.simulation.catalogue import Offer, changed_price, ordered

BACK, AHEAD = 40, 60
"""How many days before and after the day of the order an amendment may take effect."""


@dataclass
class Contract:
    """A subscription with its plans and charges, and the days of what was last ordered for it."""

    row: Subscription
    needs_term: bool
    plans: list[RatePlan] = field(default_factory=list)
    charges: list[RatePlanCharge] = field(default_factory=list)
    last_day: date = date.min

    def is_over(self, today: date) -> bool:
        """Tell whether nothing can be ordered for it any more."""
        ended = self.row.term_end is not None and not self.row.auto_renew and self.row.term_end < today
        return self.row.status == SubscriptionStatus.CANCELED or ended


@dataclass
class Business:
    """Accounts, offers and contracts, with the random source that decides everything, and what was done so far.

    No amendment takes effect after `last`, so that everything is settled by a run on that day or soon after; `renewing` is
    the share of terms that renew themselves.
    """

    source: Random
    last: date
    accounts: list[Account]
    offers: list[Offer]
    user_id: int
    renewing: float = 0.8
    contracts: list[Contract] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)

    # --- Orders ------------------------------------------------------------------------------------------------------

    def sell(self, today: date, start: date) -> None:
        """Let a customer order a subscription to one or two plans."""
        source = self.source
        chosen = source.sample(self.offers, source.choice((1, 1, 2)))
        needs_term = any(offer.needs_term for offer in chosen)
        values: dict[str, Any] = {
            "service_activation": start + timedelta(days=source.choice((0, 0, 3))),
            "customer_acceptance": start + timedelta(days=source.choice((3, 3, 10))),
            "invoice_separately": source.random() < 0.1,
        }
        if needs_term or source.random() < 0.5:
            values["term_months"] = source.choice((1, 6, 12, 12, 12, 24, 36))
            values["auto_renew"] = source.random() < self.renewing
            values["renewal_months"] = source.choice((None, None, 12, 6))
        plans = tuple(ordered(source, offer, start) for offer in chosen)
        done = self._order(source.choice(self.accounts), today, [NewSubscription(plans, start, **values)])
        if done:
            (row,) = (action.subscription for action in done)
            assert row is not None
            self.contracts.append(_reread(Contract(row, needs_term)))

    def amend(self, today: date) -> None:
        """Let a contract be changed by one action, or by two in one order."""
        running = [contract for contract in self.contracts if not contract.is_over(today)]
        if not running:
            return
        contract = self.source.choice(running)
        wanted = [self._action(contract, self._day(contract, today)) for _ in range(self.source.choice((1, 1, 1, 2)))]
        done = self._order(contract.row.account, today, [action for actions in wanted for action in actions])
        if done:
            contract.last_day = max(contract.last_day, *(action.effective_date for action in done))
            _reread(contract)

    def _day(self, contract: Contract, today: date) -> date:
        """Return a day near today, seldom before what was last ordered: such an order would be refused."""
        day = today + timedelta(
            days=self.source.choice((0, self.source.randint(-BACK, 0), self.source.randint(0, AHEAD)))
        )
        return min(day if self.source.random() < 0.1 else max(day, contract.last_day), self.last)

    def _action(self, contract: Contract, on: date) -> list[Action]:
        """Return an action that may well be possible; a suspended contract is resumed, and renewed before if need be."""
        source, row = self.source, contract.row
        if row.status == SubscriptionStatus.SUSPENDED:
            if row.term_end is not None and row.term_end <= on:
                months = (on.year - row.term_end.year) * 12 + on.month - row.term_end.month + 2
                return [RenewSubscription(row, months), Resume(row, on)]
            extend = not contract.needs_term and row.term_type == TermType.TERMED and source.random() < 0.3
            return [Resume(row, on, extend_term=extend)]
        kind = source.random()
        if kind < 0.5:
            charge = source.choice(contract.charges)
            change = changed_price(source, charge.charge_model)
            return [UpdateProduct(row, (ChargeChange(charge, **change),), on)] if change else []
        if kind < 0.62:
            offer = source.choice(self.offers)
            fits = contract.needs_term or not offer.needs_term
            return [AddProduct(row, ordered(source, offer, on), on)] if fits else []
        if kind < 0.72:
            return [RemoveProduct(row, source.choice(contract.plans), on)] if len(contract.plans) > 1 else []
        if kind < 0.84:
            return [Suspend(row, on)]
        if kind < 0.92 and row.term_end is not None and row.term_end > on - timedelta(days=BACK):
            return [RenewSubscription(row, source.choice((None, None, 6)))]
        if kind < 0.96:
            return [TermsAndConditions(row, on, name=f"Contract {source.randrange(1000)}")]
        if row.term_end is not None and row.term_end <= self.last and source.random() < 0.4:
            return [CancelSubscription(row, when=CancelWhen.END_OF_TERM)]
        return [CancelSubscription(row, on)]

    def _order(self, account: Account, today: date, actions: list[Action]) -> list[OrderAction]:
        if not actions:
            return []
        try:
            order = place_order(account=account, order_date=today, actions=actions)
        except OrderRefusedError:
            self.figures["orders refused"] += 1
            return []
        self.figures["orders"] += 1
        done = list(order.actions.select_related("subscription__account"))
        self.figures.update(action.kind for action in done)
        return done

    # --- Bill runs ---------------------------------------------------------------------------------------------------

    def new_run(self, today: date) -> BillRun:
        """Create a bill run over everybody, as its page does."""
        self.figures["runs"] += 1
        request = services.RunRequest(BillRunScope.ALL, today, today)
        return services.create_run(request, today=today, user_id=self.user_id)

    def bill(self, today: date) -> BillRun:
        """Create a run and do what a worker would; it must bill every account."""
        run = _worked(self.new_run(today))
        if run.status != BillRunStatus.COMPLETED or run.has_errors:
            failed = list(run.account_outcomes.filter(outcome="Failed").values_list("account__number", "message")[:3])
            raise AssertionError(f"{run.number} on {today} is {run.status}: {run.error} {failed}")
        return run

    def settle_drafts(self, run: BillRun) -> None:
        """Post the run's drafts, cancel them all or any single one, or leave them for later."""
        what = self.source.random()
        if not run.invoice_count:
            return
        if what < 0.5:
            services.post_run(run, expected=services.posting_figures(run).check, user_id=self.user_id)
            assert _worked(run).status == BillRunStatus.POSTED
            self.figures["runs posted"] += 1
        elif what < 0.65:
            self._cancel_run(run)
        elif what < 0.8:
            self._cancel_one_draft(run)

    def _cancel_run(self, run: BillRun) -> None:
        try:
            services.cancel_run(run)
        except CancelError:
            self.figures["cancellations refused"] += 1
        else:
            assert _worked(run).status == BillRunStatus.CANCELED
            self.figures["runs canceled"] += 1

    def _cancel_one_draft(self, run: BillRun) -> None:
        """Cancel a draft of this run, or of an earlier one, whose days may be followed by others that are billed."""
        drafts = Invoice.objects.filter(status=InvoiceStatus.DRAFT)
        known = list(
            (drafts.filter(bill_run=run) if self.source.random() < 0.7 else drafts).order_by(
                "bill_run", "account", "pk"
            )[:50]
        )
        if known:
            try:
                services.cancel_invoice(self.source.choice(known))
            except CancelError:
                self.figures["cancellations refused"] += 1
            else:
                self.figures["drafts canceled"] += 1


def _worked(run: BillRun) -> BillRun:
    """Do in this process what workers would do for the run."""
    while engine.advance(run.pk, seconds=600):
        pass
    run.refresh_from_db()
    return run


def _reread(contract: Contract) -> Contract:
    account = contract.row.account
    contract.row.refresh_from_db()
    contract.row.account = account
    contract.plans = list(contract.row.rate_plans.order_by("pk"))
    contract.charges = list(contract.row.charges.order_by("pk"))
    return contract


def business_days(source: Random, first: date, last: date, *, longest: int) -> Iterator[date]:
    """Yield the days on which somebody works: the first, the last, and in between with up to `longest` days left out."""
    day = first
    while day < last:
        yield day
        day += timedelta(days=source.randint(1, longest))
    yield last
