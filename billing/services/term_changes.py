"""Changing what was agreed on apart from products: term, renewal, separate invoice, name."""

from datetime import date
from typing import Any

from billing.core.periods import add_months
from billing.models import Subscription, SubscriptionTerm, TermType
from billing.services.charge_terms import LAST_DAY, needs_term_end
from billing.services.order_checks import named
from billing.services.order_requests import MAX_TERM_MONTHS, Report, TermsAndConditions
from billing.services.order_state import SubscriptionState

MAX_NAME = 100


def change_terms(state: SubscriptionState, action: TermsAndConditions, report: Report) -> dict[str, Any] | None:
    """Apply new terms to a subscription and return what changed, from and to; None, with problems, if they don't fit."""
    row, term = state.row, state.terms[-1]
    wanted = _wanted(row, action)
    if wanted["term_type"] == TermType.EVERGREEN:
        _check_evergreen(state, action, report)
        wanted["term_end"] = None
    else:
        wanted["term_end"] = _term_end(term, action, report)
    if wanted["auto_renew"] and wanted["term_type"] == TermType.EVERGREEN:
        report.add("auto_renew", "An evergreen subscription has no term that could be renewed.")
    months = wanted["renewal_months"]
    if months is not None and not 1 <= months <= MAX_TERM_MONTHS:
        report.add("renewal_months", f"A term lasts 1 to {MAX_TERM_MONTHS} months, not {months}.")
    check_name(wanted["name"], report)
    changed = {name: value for name, value in wanted.items() if value != getattr(row, name)}
    if not changed and report.is_clean:
        report.add("subscription", f"{state.named} would stay as it is; nothing is changed.")
    if not report.is_clean:
        return None
    told = {name: [_plain(getattr(row, name)), _plain(value)] for name, value in changed.items()}
    for name, value in changed.items():
        setattr(row, name, value)
    term.end = row.term_end
    return {"changed": told}


def check_name(name: str, report: Report) -> None:
    """Refuse the name of a subscription that would not fit on a line of an invoice."""
    if len(name) > MAX_NAME or not name.isprintable():
        report.add("name", f"A name is one line of at most {MAX_NAME} characters.")


def _wanted(row: Subscription, action: TermsAndConditions) -> dict[str, Any]:
    """Return the columns as they shall be, the term's end excepted."""
    term_type = row.term_type if action.term_type is None else TermType(action.term_type).value
    evergreen_now = term_type == TermType.EVERGREEN and row.term_type != TermType.EVERGREEN
    auto_renew = action.auto_renew
    if auto_renew is None:
        # A subscription that becomes evergreen has nothing to renew any more.
        auto_renew = row.auto_renew and not evergreen_now
    return {
        "term_type": term_type,
        "auto_renew": auto_renew,
        "renewal_months": row.renewal_months if action.renewal_months is None else action.renewal_months or None,
        "invoice_separately": row.invoice_separately
        if action.invoice_separately is None
        else action.invoice_separately,
        "name": row.name if action.name is None else action.name.strip(),
    }


def _check_evergreen(state: SubscriptionState, action: TermsAndConditions, report: Report) -> None:
    if action.term_months is not None or action.term_end is not None:
        report.add("term_end", "An evergreen subscription has no end of term; leave months and end empty.")
    for plan in state.plans:
        for charge in plan.charges:
            if charge.latest is not None and needs_term_end(charge.row):
                report.add(
                    "term_type", f"{named(charge.row, plan.row.name)} is billed by terms; it needs one that ends."
                )


def _term_end(term: SubscriptionTerm, action: TermsAndConditions, report: Report) -> date | None:
    """Return where the current term shall end."""
    months, end = action.term_months, action.term_end
    if months is not None and end is not None:
        report.add("term_end", "Give the term's months or its end, not both.")
    elif months is not None and not 1 <= months <= MAX_TERM_MONTHS:
        report.add("term_months", f"A term lasts 1 to {MAX_TERM_MONTHS} months, not {months}.")
    elif months is not None:
        end = add_months(term.start, months)
    elif end is None:
        end = term.end
        if end is None:
            report.add("term_end", "Say when the term ends, or how many months it lasts.")
    if end is None or end == term.end:
        return end
    if end <= term.start:
        report.add("term_end", f"The term must end after it starts: {end} is not after {term.start}.")
    elif end < action.effective_date:
        report.add("term_end", f"The term cannot end on {end}, before the change on {action.effective_date}.")
    elif end > LAST_DAY:
        report.add("term_end", f"The term would end beyond the year {LAST_DAY.year}.")
    return end


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value
