"""A subscription's charges, terms, pauses and end as a drawing on a time line, and as rows of the tables beside it."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

from babel.dates import format_date

from accounts.wording import day, locale, money, number, service_period
from billing.core.types import ChargeModel, ChargeType
from billing.models import ChargeSegment, RatePlanCharge, Subscription, SubscriptionTerm, TermType
from billing.services.charge_terms import includes_units
from billing.templatetags.charge_words import price_words, priced_for
from billing.timeline import (
    FULL,
    Bar,
    Days,
    Row,
    Stripe,
    Tick,
    Window,
    fits,
    percent,
    row_of,
    ticks_of,
    window_of,
)

SEGMENTS_SHOWN = 10
# Pixels: above the first charge lie the ticks and the terms, below the last one what the lines mean.
HEAD, ROW, FOOT = 52, 46, 20
SECOND_LINE = 18
# A label stands in the middle of its line unless it would leave the drawing.
EDGE = FULL // 8


class DrawnBar(NamedTuple):
    """A bar with the text that can be read on it and where on the bar, and what is said when it is pointed at."""

    stripe: Stripe
    billed: str
    css: str
    label: str
    label_x: str
    title: str


class DrawnRow(NamedTuple):
    """A charge: its name, what is said of it, and its bars; a charge that comes once has a mark instead of bars."""

    name: str
    note: str
    y: str
    row: Row
    mark: str
    bars: list[DrawnBar]
    once: DrawnBar | None


class DrawnLine(NamedTuple):
    """A day that is marked from top to bottom, with its label and where that is anchored."""

    x: str
    anchor: str
    label: str


class Drawing(NamedTuple):
    """Everything there is to draw; places are percentages, heights are pixels, both as text."""

    window: Window
    ticks: list[tuple[Tick, str]]
    terms: list[DrawnBar]
    borders: list[str]
    rows: list[DrawnRow]
    today: DrawnLine | None
    canceled: DrawnLine | None
    height: str
    foot: str

    @property
    def has_pauses(self) -> bool:
        return any(row.row.pauses for row in self.rows)

    @property
    def has_credits(self) -> bool:
        return any(row.row.to_credit for row in self.rows)


class SegmentRow(NamedTuple):
    """A row of a charge's table: a segment, or (without one) a pause; `state` is now, later, empty, or nothing."""

    segment: ChargeSegment | None
    start: date
    end: date | None
    state: str


def drawing_of(
    subscription: Subscription,
    charges: Sequence[Any],
    terms: Sequence[SubscriptionTerm],
    *,
    paused_from: date | None,
    today: date,
) -> Drawing:
    """Return the drawing of charges that have their segments, tiers and `billed_through` with them."""
    window = _window(subscription, charges, paused_from=paused_from, today=today)
    currency = subscription.invoice_owner.currency
    over = _end_of_terms(subscription)
    rows = [
        _row(charge, window, currency, place=place, paused_from=paused_from, over=over)
        for place, charge in enumerate(charges)
    ]
    canceled = subscription.canceled_from if window.shows(subscription.canceled_from) else None
    spans = [Days(term.start, term.end) for term in terms] or [Days(subscription.term_start, subscription.term_end)]
    spans = [_cut(span, subscription.canceled_from) for span in spans]
    ends = [span.end for span in spans if span.end is not None and span.end != subscription.canceled_from]
    foot = HEAD + ROW * len(rows)
    return Drawing(
        window,
        [(tick, _tick_label(tick)) for tick in ticks_of(window)],
        _terms(spans, subscription, window),
        [percent(window.place(end)) for end in ends if window.start < end < window.end],
        rows,
        _line(window, today, f"Today, {day(today)}") if window.shows(today) else None,
        _line(window, canceled, f"Canceled from {day(canceled)}") if canceled else None,
        str(foot + FOOT + (SECOND_LINE if canceled else 0)),
        str(foot),
    )


def segment_rows(
    charge: RatePlanCharge, subscription: Subscription, *, paused_from: date | None, today: date
) -> tuple[list[SegmentRow], int]:
    """Return the latest segments of a charge with the pauses between them, and how many rows come before these."""
    rows: list[SegmentRow] = []
    before: date | None = None
    over = _end_of_terms(subscription)
    once = charge.charge_type == ChargeType.ONE_TIME
    for segment in sorted(charge.segments.all(), key=lambda segment: (segment.effective_start, segment.number)):
        start, end = segment.effective_start, segment.effective_end
        if end is not None and end <= start:
            rows.append(SegmentRow(segment, start, end, "empty"))
            continue
        if before is not None and before < start and not once:
            rows.append(SegmentRow(None, before, start, ""))
        until = _cut(Days(start, end), over).end
        state = "later" if start > today else "now" if until is None or until > today else ""
        rows.append(SegmentRow(segment, start, end, "" if once or charge.trigger_date is None else state))
        before = end
    if not once and before is not None and before == paused_from:
        rows.append(SegmentRow(None, before, None, ""))
    return rows[-SEGMENTS_SHOWN:], max(0, len(rows) - SEGMENTS_SHOWN)


def segment_words(charge: RatePlanCharge, segment: ChargeSegment, currency: str) -> list[str]:
    """Return quantity and price of a segment, from all of it to the little that fits on a short bar."""
    quantity = "" if segment.quantity is None else number(segment.quantity)
    if segment.price is None:
        count = len(segment.tiers.all())
        price = f"{count} {'tier' if count == 1 else 'tiers'}" if count else "no price"
        return [f"{quantity}, {price}" if quantity else price, quantity]
    price = price_words(charge, segment.price, currency)
    if charge.charge_type == ChargeType.USAGE and charge.charge_model == ChargeModel.PER_UNIT:
        return [f"{price} per {charge.unit}", price]
    if includes_units(charge):
        return [f"{quantity} {charge.unit} included, then {price}", f"{quantity} {charge.unit} included", quantity]
    whole = f"{quantity} × {price}" if quantity else price
    per = priced_for(charge)
    return [f"{whole} {per}", whole, quantity or price] if per and "%" not in price else [whole, quantity or price]


def _end_of_terms(subscription: Subscription) -> date | None:
    """Return the day on which the terms end, if they are not renewed."""
    return None if subscription.auto_renew else subscription.term_end


def _cut(days: Days, end: date | None) -> Days:
    """Return the days before `end`; a start after it leaves none."""
    return days if end is None or (days.end is not None and days.end <= end) else Days(days.start, max(days.start, end))


def _window(subscription: Subscription, charges: Sequence[Any], *, paused_from: date | None, today: date) -> Window:
    segments = [segment for charge in charges for segment in charge.segments.all()]
    ends = [segment.effective_end for segment in segments]
    over = [subscription.canceled_from, _end_of_terms(subscription)]
    # A pause takes all days away, and yet nothing is over.
    if ends and None not in ends and paused_from is None:
        over.append(max(end for end in ends if end is not None))
    starts = [segment.effective_start for segment in segments]
    return window_of(
        first=min([subscription.contract_effective, *starts]),
        today=today,
        over=min((found for found in over if found is not None), default=None),
        term_end=subscription.term_end,
        ahead=[start for start in starts if start > today],
    )


def _row(
    charge: Any, window: Window, currency: str, *, place: int, paused_from: date | None, over: date | None
) -> DrawnRow:
    segments = sorted(charge.segments.all(), key=lambda segment: (segment.effective_start, segment.number))
    billed_to: date | None = charge.billed_through
    y = str(HEAD + ROW * place)
    note = _note(charge, billed_to)
    if charge.charge_type == ChargeType.ONE_TIME and charge.trigger_date is not None:
        row = row_of([Days(charge.trigger_date, charge.trigger_date + timedelta(days=1))], window, billed_to=billed_to)
        once = _once(charge, segments, row, currency) if row.bars else None
        return DrawnRow(charge.name, note, y, row, "", [], once)
    row = row_of(
        [_cut(Days(segment.effective_start, segment.effective_end), over) for segment in segments],
        window,
        billed_to=billed_to,
        paused_from=paused_from,
        over=over,
    )
    bars = [_bar(charge, segments[bar.position], bar, currency) for bar in row.bars]
    return DrawnRow(charge.name, note, y, row, "" if row.mark is None else percent(row.mark), bars, None)


def _bar(charge: RatePlanCharge, segment: ChargeSegment, bar: Bar, currency: str) -> DrawnBar:
    words = segment_words(charge, segment, currency)
    css = "" if bar.ends else " goes-on"
    css += "" if bar.begins else " came-from"
    css += "" if charge.trigger_date is not None else " waits"
    label, on_billed = "", True
    for text in words:
        # Rather on one side of where the billed part ends than across it.
        if fits(text, bar.billed) or fits(text, bar.stripe.width - bar.billed):
            label, on_billed = text, fits(text, bar.billed)
            break
    else:
        label = _fitting(words, bar.stripe)
    share = bar.billed_share if bar.billed else ""
    label_x = share if share and not on_billed else "0"
    return DrawnBar(bar.stripe, share, css, label, label_x, _title(segment, words[0], currency))


def _once(charge: Any, segments: Sequence[ChargeSegment], row: Row, currency: str) -> DrawnBar:
    stripe = row.bars[0].stripe
    words = segment_words(charge, segments[-1], currency)[0] if segments else ""
    label = words if fits(words, FULL - stripe.left - EDGE // 6) else ""
    css = " billed" if charge.billed_through is not None else ""
    css += " at-edge" if stripe.left < EDGE // 8 else ""
    return DrawnBar(stripe, "", css, label, "0", f"{day(charge.trigger_date)}: {words}")


def _title(segment: ChargeSegment, words: str, currency: str) -> str:
    revenue = f", MRR {money(segment.mrr, currency)}" if segment.mrr else ""
    return f"{service_period(segment.effective_start, segment.effective_end)}: {words}{revenue}"


def _note(charge: RatePlanCharge, billed_to: date | None) -> str:
    """Return what stands beside the name of a charge: through which day it is billed, or what it waits for."""
    if charge.trigger_date is None:
        return f"waits for {charge.get_trigger_event_display().lower()}"
    if charge.charge_type == ChargeType.ONE_TIME:
        return f"{'billed' if billed_to else 'not billed yet'}, {day(charge.trigger_date)}"
    if billed_to is not None:
        return f"billed up to {day(billed_to - timedelta(days=1))}"
    return "nothing billed yet"


def _terms(spans: Sequence[Days], subscription: Subscription, window: Window) -> list[DrawnBar]:
    """Return the terms that are seen, and after the last one that it will be renewed."""
    found = []
    for place, span in enumerate(spans, start=1):
        stripe = window.stripe(span)
        if stripe is None:
            continue
        period = service_period(span.start, span.end)
        name = "Evergreen" if subscription.term_type == TermType.EVERGREEN else f"Term {place}"
        names = [f"{name}: {period}", name, str(place)]
        css = " goes-on" if span.end is None or span.end > window.end else ""
        found.append(DrawnBar(stripe, "", css, _fitting(names, stripe), "0", names[0]))
    end = spans[-1].end
    if subscription.auto_renew and subscription.canceled_from is None and end is not None:
        stripe = window.stripe(Days(end, None))
        if stripe is not None:
            names = ["renews itself", "renews"]
            found.append(DrawnBar(stripe, "", " ghost goes-on", _fitting(names, stripe), "0", names[0]))
    return found


def _fitting(texts: Iterable[str], stripe: Stripe) -> str:
    """Return the first text that can be read on a stripe, or nothing."""
    return next((text for text in texts if fits(text, stripe.width)), "")


def _line(window: Window, on: date, label: str) -> DrawnLine:
    place = window.place(on)
    anchor = "start" if place < EDGE else "end" if place > FULL - EDGE else "middle"
    return DrawnLine(percent(place), anchor, label)


def _tick_label(tick: Tick) -> str:
    """Return the year, or the month and, where it begins or changes, the year; nothing where there is no room."""
    year, month, both = (format_date(tick.day, pattern, locale=locale()) for pattern in ("y", "MMM", "MMM y"))
    if tick.months == 12:
        return year
    wanted = [both, year if tick.day.month == 1 else month] if tick.with_year else [month]
    return next((label for label in wanted if fits(label, tick.room)), "")
