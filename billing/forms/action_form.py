"""What the forms of all order actions have in common: a key on the page, a subscription they are about, refusals."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar

from django.http import QueryDict

from accounts.models import Account
from billing.forms.charge_values import ChargeValuesForm, PricedCharge, from_subscription
from billing.forms.quiet import QuietForm
from billing.models import ProductRatePlan
from billing.services.order_requests import Action, CreatedBy, Target
from billing.services.order_state import SubscriptionState


@dataclass(frozen=True)
class Subject:
    """The subscription an action is about: an existing one (`state`), or the one another action creates (`created_by`).

    `plans` are the rate plans it has by then, as (id, name); `charges` those that can change, with their plan's name.
    Ids are those of the subscription's rows, or of the catalogue's for a subscription that is only being created.
    """

    words: str
    state: SubscriptionState | None = None
    created_by: str = ""
    plans: tuple[tuple[int, str], ...] = ()
    charges: tuple[tuple[str, PricedCharge], ...] = ()

    @property
    def charge_forms(self) -> list[ChargeValuesForm]:
        """Return the forms of the charges that count, for actions that ask about charges."""
        return []

    def target(self, positions: Mapping[str, int]) -> Target:
        """Return how the order names it; `positions` are the places of the actions by their key."""
        return self.state.row if self.state is not None else CreatedBy(positions[self.created_by])


def subject_of(state: SubscriptionState, currency: str) -> Subject:
    """Return an existing subscription with the plans and charges that are not over."""
    alive = [
        (plan.row, charge)
        for plan in state.plans
        for charge in (from_subscription(each, currency) for each in plan.charges)
        if charge is not None
    ]
    plans = {row.pk: row.name for row, _ in alive}
    words = " · ".join(filter(None, [state.row.number, state.row.name]))
    return Subject(words, state, plans=tuple(plans.items()), charges=tuple((row.name, charge) for row, charge in alive))


@dataclass(frozen=True)
class Surroundings:
    """What every action's form is given: whose order it is, the day, and the plans on offer by what was searched."""

    account: Account
    today: date
    offered: Iterable[ProductRatePlan] = ()


class ActionForm(QuietForm):
    """One action of an order; its inputs are prefixed by `key`, which stays the same while others come and go."""

    kind: ClassVar[str]
    title: ClassVar[str]
    template: ClassVar[str] = "billing/orders/_fields.html"
    # How the service names what it objects to, where this form has another field for it.
    field_of: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        data: QueryDict | None,
        *,
        key: str,
        around: Surroundings,
        subject: Subject | None = None,
        quiet: bool = False,
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        is_sent = data is not None and f"{key}-sent" in data
        self.sent: QueryDict | None = data if is_sent else None
        super().__init__(self.sent, prefix=key, quiet=quiet, initial=dict(initial or {}))
        self.key, self.around, self.subject = key, around, subject

    @property
    def reference(self) -> str:
        """Return what the page sends to have this action again: key, kind and subscription."""
        if self.subject is None:
            return f"{self.key}:{self.kind}:"
        state = self.subject.state
        return f"{self.key}:{self.kind}:{f's{state.row.pk}' if state is not None else f'c{self.subject.created_by}'}"

    @property
    def plain_fields(self) -> list[Any]:
        """Return the fields that are drawn one below the other."""
        return list(self)

    @property
    def charge_forms(self) -> list[ChargeValuesForm]:
        """Return the forms of the charges that count, for actions that ask about charges."""
        return []

    def target(self, positions: Mapping[str, int]) -> Target:
        """Return the subscription this action is about; only of forms that have one."""
        assert self.subject is not None
        return self.subject.target(positions)

    def action(self, positions: Mapping[str, int]) -> Action:
        """Return the action as the order takes it; only of a valid form."""
        raise NotImplementedError

    def add_refusal(self, field: str, message: str) -> None:
        """Show what the service objects to beside the field it is about, or above the action."""
        name = self.field_of.get(field, field)
        self.add_error(name if name in self.fields else None, message)
