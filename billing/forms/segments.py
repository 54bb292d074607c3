"""The form of a price segment as a record."""

from typing import Any

from django import forms
from django.contrib.postgres.constraints import ExclusionConstraint


class SegmentForm(forms.ModelForm):
    """A segment whose overlaps are judged by the database alone.

    Django would check that rule with the form's values, but the rule is written over columns, and no value fits in.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        found = self.instance.get_constraints()
        checked = [(model, [c for c in rules if not isinstance(c, ExclusionConstraint)]) for model, rules in found]
        self.instance.get_constraints = lambda: checked
