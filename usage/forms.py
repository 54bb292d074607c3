"""The forms of usage: a file to upload, and the values of a pending record."""

from typing import Any

from django import forms

from accounts.operator_admin import DayInput
from usage.cells import LONGEST_DESCRIPTION
from usage.models import UsageRecord
from usage.services import RecordChange


class UploadForm(forms.Form):
    """A usage file."""

    file = forms.FileField(
        label="Usage file",
        help_text="CSV (also compressed with gzip) or Excel workbook (XLSX), with a header row.",
        error_messages={"required": "Choose a file.", "empty": "The file is empty."},
        widget=forms.FileInput(attrs={"accept": ".csv,.gz,.xlsx,text/csv"}),
    )


class RecordForm(forms.Form):
    """What may be changed of a pending record; what is not said stays as it is."""

    qty = forms.CharField(label="Quantity", max_length=30, widget=forms.TextInput(attrs={"inputmode": "decimal"}))
    startdate = forms.CharField(label="Start date", widget=DayInput, help_text="Decides the billing period.")
    enddate = forms.CharField(label="End date", widget=DayInput, required=False, help_text="For information only.")
    description = forms.CharField(max_length=LONGEST_DESCRIPTION, required=False)

    @classmethod
    def of(cls, record: UsageRecord) -> "RecordForm":
        """Return the form with a record's values."""
        return cls(
            initial={
                "qty": f"{record.quantity.normalize():f}",
                "startdate": record.start_date.isoformat(),
                "enddate": record.end_date.isoformat() if record.end_date else "",
                "description": record.description,
            }
        )

    def change(self) -> RecordChange:
        """Return the values that were sent; only of a valid form."""
        sent: dict[str, Any] = self.cleaned_data
        return RecordChange(sent["qty"], sent["startdate"], sent["enddate"], sent["description"])
