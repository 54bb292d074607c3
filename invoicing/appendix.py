"""The appendix of an invoice's PDF, “How each amount was calculated”: its explanations as plain values, bounded in length."""

import json
from collections.abc import Sequence
from typing import Any

from accounts.wording import number
from invoicing.explained import Explanation, Fact, PriceVersions, explained, price_versions
from invoicing.models import InvoiceItem

# Calculations printed at most: about thirty pages. Equal ones of a reseller's many subscriptions are printed once.
CALCULATIONS = 200


def appendix_values(
    titled: Sequence[tuple[str, InvoiceItem]],
    *,
    currency: str,
    versions: PriceVersions | None,
    limit: int = CALCULATIONS,
) -> dict[str, Any]:
    """Return the explanations of an invoice's lines, each given with the title of its group, in the reader's locale.

    `versions` are as for `explained`. Lines of the same description, days and calculation are explained together;
    `left_out` counts the lines that are beyond the first `limit` different calculations.
    """
    if versions is None:
        versions = price_versions({item.charge_id for _, item in titled})
    alike: dict[tuple[Any, ...], list[tuple[str, InvoiceItem]]] = {}
    for title, item in titled:
        alike.setdefault(_calculation(item, versions), []).append((title, item))
    shown = list(alike.values())[:limit]
    found = explained([lines[0][1] for lines in shown], currency=currency, versions=versions)
    groups: dict[str, dict[str, Any]] = {}
    for lines, explanation in zip(shown, found, strict=True):
        title, item = lines[0]
        group = groups.setdefault(title, {"title": title, "lines": []})
        group["lines"].append(_line(item, explanation, len(lines) - 1))
    return {
        "groups": list(groups.values()),
        "calculations": len(shown),
        "left_out": len(titled) - sum(len(lines) for lines in shown),
    }


def _calculation(item: InvoiceItem, versions: PriceVersions) -> tuple[Any, ...]:
    """Return what two lines have in common when the same words explain both."""
    return (
        item.description,
        item.kind,
        item.period.lower,
        item.period.upper,
        item.credits_id,
        item.reduces_id,
        json.dumps(item.derivation, sort_keys=True),
        tuple(sorted(versions.get(str(item.charge_id), {}).items())),
    )


def _line(item: InvoiceItem, explanation: Explanation, more: int) -> dict[str, Any]:
    facts = explanation.facts
    if more:
        others = "1 further line" if more == 1 else f"{number(more)} further lines"
        facts = [*facts, Fact("Also for", f"{others} of the same description, service period and amount")]
    return {
        "description": item.description,
        "facts": [{"name": name, "words": words} for name, words in facts],
        "steps": [{"name": step.name, "working": step.working, "result": step.result} for step in explanation.steps],
    }
