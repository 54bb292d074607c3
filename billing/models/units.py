"""Units of measure: what usage counts, and how finely (domain.md 2.5)."""

import pgtrigger
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse

from accounts.guards import refusal
from billing.core.units import UNIT_DECIMALS, RoundingMode
from billing.models.terms import SINGLE_LINE


class UnitRounding(models.TextChoices):
    UP = RoundingMode.UP.value, "Up"
    DOWN = RoundingMode.DOWN.value, "Down"


class UnitOfMeasure(models.Model):
    """A unit that usage is counted in; charges name it.

    `decimals` is how many decimal places a billed quantity has; what lies beyond them is rounded up or down.
    """

    name = models.CharField(
        max_length=30, unique=True, validators=[SINGLE_LINE], help_text="For example GB or API call."
    )
    decimals = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(UNIT_DECIMALS)],
        help_text="Decimal places of a billed quantity, 0 to 9.",
    )
    rounding = models.CharField(
        max_length=4,
        choices=UnitRounding,
        default=UnitRounding.UP,
        help_text="What becomes of more decimal places, once the usage of a period is added up.",
    )

    class Meta:
        verbose_name = "unit of measure"
        verbose_name_plural = "units of measure"
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="unit_known",
                condition=Q(decimals__range=(0, UNIT_DECIMALS), rounding__in=UnitRounding.values) & ~Q(name=""),
            )
        ]
        triggers = [
            pgtrigger.Trigger(
                name="unit_named_stays",
                when=pgtrigger.Before,
                operation=pgtrigger.Delete | pgtrigger.UpdateOf("name"),
                # Charges of usage lock the unit they name, so that none comes meanwhile (`usage_names_a_unit`).
                func=f"""
                IF TG_OP = 'UPDATE' AND NEW.name = OLD.name THEN RETURN NEW; END IF;
                IF EXISTS (SELECT FROM billing_rateplancharge c WHERE c.unit = OLD.name AND c.charge_type = 'Usage')
                    OR EXISTS (SELECT FROM billing_productrateplancharge c WHERE c.unit = OLD.name AND c.charge_type = 'Usage') THEN
                    {refusal("Charges count usage in “%”, so that it can be neither renamed nor deleted", "OLD.name")}
                END IF;
                IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
                RETURN NEW;
                """,
            )
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("admin:billing_unitofmeasure_object", args=[self.pk])
