"""Document numbers are taken from counter rows, so that none is given out twice or left out (I10)."""

from django.db import connection

from accounts.models import NumberPurpose


def take_numbers(purpose: NumberPurpose, count: int = 1) -> list[str]:
    """Take the next `count` numbers of the default sequence for `purpose`.

    The counter row stays locked until the surrounding transaction ends. Raises LookupError when no
    sequence for the purpose exists.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_numbersequence SET next_number = next_number + %s"
            " WHERE id = (SELECT min(id) FROM accounts_numbersequence WHERE purpose = %s)"
            " RETURNING prefix, digits, next_number",
            [count, purpose],
        )
        row = cursor.fetchone()
    if row is None:
        raise LookupError(f"No number sequence for {purpose}; add one under Administration › Number sequences.")
    prefix, digits, following = row
    return [f"{prefix}{value:0{digits}d}" for value in range(following - count, following)]
