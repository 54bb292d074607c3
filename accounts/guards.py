"""Small builders for the database guards that several tables share; each guard's name carries its invariant id."""

import pgtrigger

# SQLSTATE of every refusal, so that Django raises IntegrityError and pages can explain it.
CHECK_VIOLATION = "23514"


def refusal(message: str, *arguments: str) -> str:
    """Return the plpgsql statement that refuses a change with `message` (`%` takes the next argument)."""
    values = "".join(f", {argument}" for argument in arguments)
    quoted = message.replace("'", "''")
    return f"RAISE EXCEPTION '{quoted}'{values} USING ERRCODE = '{CHECK_VIOLATION}';"


def immutable(name: str, message: str) -> pgtrigger.Trigger:
    """Return a row trigger that refuses every update and delete."""
    return pgtrigger.Trigger(
        name=name, when=pgtrigger.Before, operation=pgtrigger.Update | pgtrigger.Delete, func=refusal(message)
    )


def untruncatable(name: str) -> pgtrigger.Trigger:
    """Return a statement trigger that refuses TRUNCATE, which would pass by all row triggers."""
    return pgtrigger.Trigger(
        name=name,
        level=pgtrigger.Statement,
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        func=refusal("This table holds billing records and cannot be truncated"),
    )
