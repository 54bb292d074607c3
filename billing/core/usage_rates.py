"""What counted usage costs by each charge model, with the members of its derivation (domain.md 2.3, 6.4).

Where usage is counted in several groups, each walks the tiers by itself. The walks are told as one: the units of all
groups that lie in a tier are added up, and a tier's flat fee is told with how often it is charged:

    q     usage counted, all groups together
    t     [[units, price], …] as ever; [units, price, "FlatFee", times] where several groups reach the tier
    by    [rating group, number of groups], absent where the period is counted as one
    raw   usage before it was rounded as its unit says, absent where rounding changed nothing
    rec   number of usage records
"""

from decimal import Decimal
from typing import NamedTuple

from billing.core.charge_models import UnpriceableError, rate_of
from billing.core.derivation import number_text
from billing.core.money import EXACT
from billing.core.overage import overage, tiered_with_overage
from billing.core.smoothing import PeriodUsage, smooth, state_of, state_text
from billing.core.tiers import AboveTiersError, Step, TierOrderError, tiered_steps, volume_step
from billing.core.types import ChargeModel, PriceFormat, RatingGroup, Segment
from billing.core.usage import Counted, UsageTerms

_ZERO = Decimal(0)


class UsageRate(NamedTuple):
    """The exact price of counted usage; `state` is that of smoothing afterwards, as JSON text, empty without."""

    amount: Decimal
    unit_price: Decimal | None
    working: str
    state: str = ""


def usage_rate(
    model: ChargeModel, segment: Segment, counted: Counted, terms: UsageTerms, *, state: str = "", partial: bool = False
) -> UsageRate:
    """Return what counted usage costs at a segment's price; `state` and `partial` matter to smoothed charges alone.

    Raises `UnpriceableError`, or `OverageError` with the same members, when the segment lacks what the model needs.
    """
    told = _counting(counted, terms)
    if terms.smoothing is not None:
        usage = PeriodUsage(counted.quantity, segment.quantity or _ZERO, _price(segment), partial)
        smoothing = terms.smoothing._replace(credit_rate=segment.credit_rate)
        found, after = smooth(smoothing, state_of(state) if state else None, usage)
        return UsageRate(found.amount, None, found.working + told, state_text(after))
    if model is ChargeModel.OVERAGE:
        rate = overage(counted.quantity, segment.quantity or _ZERO, _price(segment))
        return UsageRate(rate.amount, None, rate.working + told)
    if model is ChargeModel.TIERED_WITH_OVERAGE:
        tiers, above = segment.tiers[:-1], segment.tiers[-1:]
        if not above or above[0].up_to is not None:
            raise UnpriceableError(
                "missing_overage_price", "has no overage price", "Leave the end of its last tier empty"
            )
        rate = tiered_with_overage(counted.quantity, tiers, above[0].price)
        return UsageRate(rate.amount, None, rate.working + told)
    if model is ChargeModel.PER_UNIT or model is ChargeModel.FLAT_FEE:
        priced = rate_of(model, segment._replace(quantity=counted.quantity))
        return UsageRate(priced.amount, priced.unit_price, priced.working + told)
    if model is ChargeModel.TIERED or model is ChargeModel.VOLUME:
        return _in_tiers(model, segment, counted, told)
    raise UnpriceableError("model_does_not_fit", "has a charge model that usage does not know", "Choose another one")


def _in_tiers(model: ChargeModel, segment: Segment, counted: Counted, told: str) -> UsageRate:
    groups = counted.groups or ((_ZERO, 1),)
    # Asked once for the words it refuses bad tiers with; the quantity that reaches furthest meets every flaw.
    rate_of(model, segment._replace(quantity=max(quantity for quantity, _ in groups)))
    tiers: dict[int, tuple[Step, int]] = {}
    amount = _ZERO
    for quantity, times in groups:
        for step in _steps(model, segment, quantity):
            before, often = tiers.get(step.number, (step._replace(units=_ZERO), 0))
            units = EXACT.add(before.units, EXACT.multiply(step.units, times))
            tiers[step.number] = (before._replace(units=units), often + times)
            amount = EXACT.add(amount, EXACT.multiply(step.amount, times))
    steps = ",".join(_step_text(*tiers[number]) for number in sorted(tiers))
    first = min(tiers, default=1)
    place = f',"n":{first}' if model is ChargeModel.VOLUME and len(tiers) == 1 and first != 1 else ""
    return UsageRate(amount, None, f'"m":"{model}","q":"{number_text(counted.quantity)}"{place},"t":[{steps}]{told}')


def _steps(model: ChargeModel, segment: Segment, quantity: Decimal) -> list[Step]:
    try:
        if model is ChargeModel.TIERED:
            return tiered_steps(quantity, segment.tiers)
        return [volume_step(quantity, segment.tiers)]
    except (TierOrderError, AboveTiersError) as flaw:  # refused in words before
        raise AssertionError from flaw


def _step_text(step: Step, times: int) -> str:
    text = f'"{number_text(step.units)}","{number_text(step.price)}"'
    if step.price_format == PriceFormat.FLAT_FEE:
        text += ',"FlatFee"' + (f",{times}" if times != 1 else "")
    return f"[{text}]"


def _counting(counted: Counted, terms: UsageTerms) -> str:
    """Return the members by, raw and rec."""
    text = ""
    if terms.rating_group is not RatingGroup.BILLING_PERIOD:
        text += f',"by":["{terms.rating_group}",{sum(times for _, times in counted.groups)}]'
    if counted.exact != counted.quantity:
        text += f',"raw":"{number_text(counted.exact)}"'
    return f'{text},"rec":{counted.records}'


def _price(segment: Segment) -> Decimal:
    if segment.price is None:
        raise UnpriceableError("missing_price", "has no price", f"Enter a price on segment {segment.number}")
    return segment.price
