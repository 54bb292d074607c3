"""Forms that can show again what was typed in so far without judging it yet."""

from typing import Any

from django import forms
from django.forms.utils import ErrorDict


class QuietForm(forms.Form):
    """A form that finds nothing wrong while it is `quiet`: its answers are still being written."""

    use_required_attribute = False

    def __init__(self, *args: Any, quiet: bool = False, **kwargs: Any) -> None:
        self.quiet = quiet
        super().__init__(*args, **kwargs)

    def full_clean(self) -> None:
        """Check the answers, unless they are not finished."""
        if self.quiet:
            self._errors, self.cleaned_data = ErrorDict(), {}
        else:
            super().full_clean()
