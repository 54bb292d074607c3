"""What an attack is, and the pieces of SQL that attacks are made of."""

from dataclasses import dataclass, field

CHECK, UNIQUE, EXCLUSION, TRIGGER = "23514", "23505", "23P01", "23514"


@dataclass(frozen=True)
class Attack:
    """SQL that would break `guard`'s invariant, and how it is refused.

    `backed_by` names guards that refuse it as well, so that it only succeeds once they are gone, too. A guard without
    `state` does not refuse but corrects: then `harm` is the question that must be answered with false.
    `as_owner`: the application's role may not even try (42501), so the owner attacks.
    """

    guard: str
    sql: str
    state: str | None = CHECK
    backed_by: tuple[str, ...] = ()
    harm: str = ""
    as_owner: bool = False
    label: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """Return the name that the test report shows."""
        return f"{self.guard}: {self.label}" if self.label else self.guard


def set_columns(table: str, assignments: str, row: int = 1001) -> str:
    """Return the SQL that changes a row."""
    return f"UPDATE {table} SET {assignments} WHERE id = {row}"


def deferred(*statements: str) -> str:
    """Return statements that are judged together, as at the end of a transaction."""
    return f"SET CONSTRAINTS ALL DEFERRED; {' '.join(statements)} SET CONSTRAINTS ALL IMMEDIATE"
