"""What can be chosen on the page of billing rules, taken together, and what an example made under it comes to."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from accounts.wording import money
from billing.core.types import (
    Account,
    Currency,
    DaysInMonth,
    PartialMonths,
    ProrationUnit,
    RecurringStyle,
    Rules,
)

CURRENCY = "USD"
NOBODY = Account(1, "A00000001", Currency(CURRENCY, 2), 1, 1, 1, None, None)


class Choices(NamedTuple):
    """All billing rules as chosen: those that price, and those that set up bill runs."""

    rules: Rules = Rules()
    customer_hierarchy: bool = False
    include_child_usage: bool = False
    auto_renew_default: bool = True
    allow_auto_post: bool = True
    auto_post_default: bool = False

    def given(self, rule: str) -> Any:
        """Return what is chosen for a rule."""
        return getattr(self.rules if rule in Rules._fields else self, rule)

    def chosen(self, rule: str, value: Any) -> "Choices":
        """Return these choices with another one for `rule`, and with what that one cannot do without."""
        if rule in Rules._fields:
            return self._replace(rules=self.rules._replace(**{rule: value}))
        if rule == "include_child_usage" and value:
            return self._replace(customer_hierarchy=True, include_child_usage=True)
        if rule == "customer_hierarchy" and not value:
            return self._replace(customer_hierarchy=False, include_child_usage=False)
        return self._replace(**{rule: value})


class Result(NamedTuple):
    """One line of an example: the days it is for, what it comes to, and the share of a period behind it."""

    label: str
    amount: str
    working: str


def choices_from(values: dict[str, Any]) -> Choices:
    """Return the choices from values by rule, as a form or the row of rules has them."""
    kinds: dict[str, Callable[[Any], Any]] = {
        "days_in_month": DaysInMonth,
        "proration_unit": ProrationUnit,
        "partial_months": PartialMonths,
        "recurring_style": RecurringStyle,
    }
    read = {name: kinds.get(name, bool)(value) for name, value in values.items()}
    return Choices(
        Rules(**{name: read[name] for name in Rules._fields}),
        **{name: read[name] for name in Choices._fields if name != "rules"},
    )


def dollars(amount: Decimal) -> str:
    """Return an amount of an example as people read it."""
    return money(amount, CURRENCY)
