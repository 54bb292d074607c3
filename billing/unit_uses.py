"""Who counts usage in a unit of measure, and how a unit rounds, in numbers and words."""

from decimal import Decimal
from typing import NamedTuple

from accounts.wording import number
from billing.core.types import ChargeType
from billing.core.units import RoundingMode, round_quantity
from billing.core.units import UnitOfMeasure as Measure
from billing.models import ProductRatePlanCharge, RatePlanCharge, UnitOfMeasure

# More decimal places than any unit has, so that each example is rounded.
EXAMPLE = Decimal("12.3456789012")


class Uses(NamedTuple):
    """How many charges of usage name a unit, in the catalogue and in subscriptions."""

    catalogue: int
    subscribed: int

    def __bool__(self) -> bool:
        return self.catalogue + self.subscribed > 0

    @property
    def words(self) -> str:
        """Return them as the subject of a sentence: “1 charge of the catalogue and 12 charges of subscriptions”."""
        parts = [(self.catalogue, "of the catalogue"), (self.subscribed, "of subscriptions")]
        return " and ".join(
            f"{number(count)} {'charge' if count == 1 else 'charges'} {where}" for count, where in parts if count
        )

    @property
    def verb(self) -> str:
        return "counts" if self.catalogue + self.subscribed == 1 else "count"


def uses_of(unit: UnitOfMeasure) -> Uses:
    """Count the usage charges that name a unit."""
    named = {"unit": unit.name, "charge_type": ChargeType.USAGE}
    return Uses(ProductRatePlanCharge.objects.filter(**named).count(), RatePlanCharge.objects.filter(**named).count())


def rounding_words(unit: UnitOfMeasure) -> str:
    """Return how a unit rounds, with an example: “12.3456789012 GB are billed as 12.35 GB”."""
    measure = Measure(unit.name, unit.decimals, RoundingMode(unit.rounding))
    rounded = round_quantity(EXAMPLE, measure)
    return f"{EXAMPLE} {unit.name} used in a period are billed as {rounded} {unit.name}."
