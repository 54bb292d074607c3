"""Columns for money, prices and quantities: unconstrained `numeric`, so that a value keeps the digits it was written with.

NaN and infinity cannot enter where a table adds `within_limits` (PostgreSQL lets NaN pass `>=`, not BETWEEN).
"""

from decimal import Decimal
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

AMOUNT_LIMIT = Decimal(10) ** 12


class NumericField(models.DecimalField):
    """A DecimalField stored as `numeric` without scale: JPY amounts stay whole, prices keep nine digits."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_digits", 22)
        kwargs.setdefault("decimal_places", 9)
        kwargs.setdefault("validators", [MinValueValidator(-AMOUNT_LIMIT), MaxValueValidator(AMOUNT_LIMIT)])
        super().__init__(*args, **kwargs)

    def db_type(self, connection: Any) -> str:
        return "numeric"

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        # The backend's adapter would pad to `decimal_places`; the number is stored as it is.
        return value if isinstance(value, Decimal | None) else self.to_python(value)


def within_limits(*columns: str) -> Q:
    """Return the condition that each column is a finite number of at most a trillion either way, or NULL."""
    condition = Q()
    for column in columns:
        condition &= Q(**{f"{column}__range": (-AMOUNT_LIMIT, AMOUNT_LIMIT)}) | Q(**{f"{column}__isnull": True})
    return condition
