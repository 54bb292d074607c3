"""How a bill run is written without thinking of speed: one account after the other, one ORM call a row."""

from datetime import date
from decimal import Decimal

from django.db import transaction

from accounts.currencies import currency_digits
from accounts.models import Account, InvoiceTemplate, NumberSequence
from accounts.payment_terms import Term, due_date
from billing.core import types
from billing.core.grouping import group
from billing.core.pricing import price
from billing.models import RatePlanCharge, Subscription
from billing.queries import current_rules
from invoicing.models import BillRun, BillRunAccount, Coverage, Invoice, InvoiceItem


def bill(run: BillRun, account_ids: list[int]) -> int:
    """Bill the accounts and return how many invoices were written."""
    rules = current_rules()
    made = 0
    for account_id in account_ids:
        with transaction.atomic():
            account = Account.objects.select_for_update(of=("self",)).select_related("payment_term").get(pk=account_id)
            made += _bill_account(run, account, rules)
    return made


def _bill_account(run: BillRun, account: Account, rules: types.Rules) -> int:
    template = account.invoice_template or InvoiceTemplate.objects.get(is_default=True)
    sequence = account.number_sequence or NumberSequence.objects.filter(purpose="Invoice").order_by("pk").first()
    owner = types.Account(
        account.pk,
        account.number,
        types.Currency(account.currency, currency_digits(account.currency)),
        account.bill_cycle_day,
        account.bill_to_id,
        account.payment_term_id,
        template.pk,
        sequence.pk if sequence else None,
    )
    charges = [
        _charge(charge, subscription)
        for subscription in Subscription.objects.filter(invoice_owner=account, status="Active")
        for charge in subscription.charges.order_by("pk")
    ]
    lines, problems, _ = price(owner, charges, rules=rules, target_date=run.target_date)
    drafts = group(owner, lines)
    for draft in drafts:
        _write(run, account, template.pk, sequence.pk if sequence else None, draft)
    outcome = "Failed" if problems else "Billed" if lines else "NothingDue"
    BillRunAccount.objects.create(
        run=run,
        account=account,
        outcome=outcome,
        invoices=len(drafts),
        items=len(lines),
        message=problems[0].message if problems else f"Billed {len(lines)} items on {len(drafts)} invoices.",
    )
    return len(drafts)


def _charge(charge: RatePlanCharge, subscription: Subscription) -> types.Charge:
    last = Coverage.objects.filter(charge=charge).order_by("-period__endswith").first()
    terms = types.ChargeTerms(
        types.ChargeType(charge.charge_type),
        types.ChargeModel(charge.charge_model),
        types.BillingTiming(charge.billing_timing),
        types.BillingPeriod(charge.billing_period) if charge.billing_period else None,
        types.ListPriceBase(charge.list_price_base),
        types.BillingDayType(charge.billing_day_type),
        types.Alignment(charge.alignment),
    )
    segments = tuple(
        types.Segment(s.pk, s.number, s.effective_start, s.effective_end, s.quantity, s.price)
        for s in charge.segments.order_by("number")
    )
    return types.Charge(
        charge.pk,
        charge.number,
        charge.name,
        subscription.pk,
        subscription.contract_effective,
        subscription.invoice_separately,
        charge.trigger_date,
        last.period.upper if last else None,
        terms,
        segments,
    )


def _write(run: BillRun, account: Account, template_id: int, sequence_id: int | None, draft: types.Draft) -> None:
    net = sum((line.amount for line in draft.lines), Decimal(0))
    term = account.payment_term
    assert term is not None  # pricing refuses an account without one, or without a contact
    assert account.bill_to_id is not None
    due = due_date(Term(term.kind, term.net_days, term.cutoff_day, term.months, term.due_day), run.invoice_date)
    invoice = Invoice.objects.create(
        reference="DRAFT",
        account=account,
        bill_run=run,
        currency=account.currency,
        invoice_date=run.invoice_date,
        due_date=due,
        bill_to_id=account.bill_to_id,
        payment_term=term,
        template_id=template_id,
        number_sequence_id=sequence_id,
        net=net,
        tax=0,
        total=net,
        balance=net,
    )
    invoice.reference = f"DRAFT-{invoice.pk}"
    invoice.save()
    for line in draft.lines:
        period: tuple[date, date] = (line.period.start, line.period.end)
        item = InvoiceItem.objects.create(
            invoice=invoice,
            charge_id=line.charge_id,
            kind=line.kind,
            description=line.description,
            period=period,
            quantity=line.quantity,
            unit_price=line.unit_price,
            amount=line.amount,
            derivation=line.derivation,
        )
        Coverage.objects.create(charge_id=line.charge_id, item=item, kind="Period", period=period)
