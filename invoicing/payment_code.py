"""The QR code of the European Payments Council that fills in a bank transfer when scanned."""

import re
from decimal import Decimal

import segno

# Limits of the standard (EPC069-12): a code beyond them would be refused by banking apps.
_NAME_LENGTH = 70
_TEXT_LENGTH = 140
_AMOUNTS = (Decimal("0.01"), Decimal("999999999.99"))
_LARGEST_VERSION = 13
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_BIC = re.compile(r"[A-Z]{6}[A-Z0-9]{2}([A-Z0-9]{3})?")


def is_iban(text: str) -> bool:
    """Say whether the text, blanks ignored, is an IBAN whose check digits are right (ISO 7064, mod 97-10)."""
    iban = text.replace(" ", "").upper()
    if not _IBAN.fullmatch(iban):
        return False
    digits = "".join(str(int(character, 36)) for character in iban[4:] + iban[:4])
    return int(digits) % 97 == 1


def payment_text(*, name: str, iban: str, bic: str, amount: Decimal, reference: str) -> str:
    """Return what the code says: the lines of version 002, or "" where the standard allows none."""
    # A line break would end the field early and let a name write the fields after it.
    name, reference = " ".join(name.split()), " ".join(reference.split())
    low, high = _AMOUNTS
    if not (name and is_iban(iban) and low <= amount <= high and 0 < len(reference) <= _TEXT_LENGTH):
        return ""
    bank = bic.replace(" ", "").upper()
    lines = (
        "BCD",
        "002",
        "1",  # UTF-8
        "SCT",
        bank if _BIC.fullmatch(bank) else "",
        name[:_NAME_LENGTH],
        iban.replace(" ", "").upper(),
        f"EUR{amount:.2f}",
        "",  # purpose
        "",  # structured reference
        reference,
    )
    return "\n".join(lines)


def payment_code(*, name: str, iban: str, bic: str, amount: Decimal, reference: str) -> str:
    """Return the code as a PNG data URI, or "" where the standard allows none; the amount is in euro."""
    text = payment_text(name=name, iban=iban, bic=bic, amount=amount, reference=reference)
    if not text:
        return ""
    code = segno.make_qr(text, error="m", boost_error=False, encoding="utf-8")  # level M is part of the standard
    if int(code.version) > _LARGEST_VERSION:
        return ""
    # Several dots a module: viewers that smooth enlarged pictures still show sharp edges.
    return code.png_data_uri(scale=4, border=4)
