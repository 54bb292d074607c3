"""ISO currencies whose amounts do not have two decimal digits, and the check that a code is one."""

from babel.numbers import list_currencies

_WITHOUT_DIGITS = (
    "BIF",
    "CLP",
    "DJF",
    "GNF",
    "ISK",
    "JPY",
    "KMF",
    "KRW",
    "PYG",
    "RWF",
    "UGX",
    "VND",
    "VUV",
    "XAF",
    "XOF",
    "XPF",
)
_WITH_THREE_DIGITS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
DIGITS_BY_CURRENCY: dict[str, int] = dict.fromkeys(_WITHOUT_DIGITS, 0) | dict.fromkeys(_WITH_THREE_DIGITS, 3)


def currency_digits(code: str) -> int:
    """Return how many decimal digits amounts in this ISO currency carry (JPY 0, USD 2, KWD 3)."""
    return DIGITS_BY_CURRENCY.get(code, 2)


def is_currency(code: str) -> bool:
    """Tell whether `code` is a currency that Babel knows."""
    return code in list_currencies()


def currency_digits_sql(column: str) -> str:
    """Return the SQL expression for `currency_digits` of a column, so that triggers share this table."""

    def codes(digits: int) -> str:
        return ", ".join(f"'{code}'" for code, value in DIGITS_BY_CURRENCY.items() if value == digits)

    return f"CASE WHEN {column} IN ({codes(0)}) THEN 0 WHEN {column} IN ({codes(3)}) THEN 3 ELSE 2 END"
