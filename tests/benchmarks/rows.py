"""The rows of a bill run as COPY text, chunk by chunk: taken out of the tables once, written back as fast as PostgreSQL can."""

import time
from typing import NamedTuple

import psycopg

# The tables of a chunk in the order that foreign keys ask for, with the condition that finds its rows.
_OF_CHUNK = "account_id IN (SELECT account_id FROM invoicing_billrunaccount WHERE chunk_id = %(chunk)s)"
_INVOICES = f"invoice_id IN (SELECT id FROM invoicing_invoice WHERE bill_run_id = %(run)s AND {_OF_CHUNK})"
_TABLES = {
    "invoicing_billrunaccount": "chunk_id = %(chunk)s",
    "invoicing_invoice": f"bill_run_id = %(run)s AND {_OF_CHUNK}",
    "invoicing_invoiceitem": _INVOICES,
    "invoicing_coverage": f"item_id IN (SELECT id FROM invoicing_invoiceitem WHERE {_INVOICES})",
}


class Block(NamedTuple):
    """All rows of one table in one chunk."""

    table: str
    text: bytes


def take(connection: psycopg.Connection, run_id: int) -> list[list[Block]]:
    """Return the rows that a run wrote, a list of blocks for each of its chunks."""
    chunks = connection.execute(
        "SELECT id FROM invoicing_billrunchunk WHERE run_id = %s AND state = 'Done' ORDER BY id", [run_id]
    )
    return [
        [_block(connection, table, where, {"run": run_id, "chunk": chunk}) for table, where in _TABLES.items()]
        for (chunk,) in chunks.fetchall()
    ]


def _block(connection: psycopg.Connection, table: str, where: str, values: dict[str, int]) -> Block:
    with connection.cursor() as cursor:
        query = psycopg.ClientCursor(connection).mogrify(f"SELECT * FROM {table} WHERE {where} ORDER BY id", values)
        with cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
            return Block(table, b"".join(copy))


def put(connection: psycopg.Connection, chunks: list[list[Block]]) -> float:
    """Write the rows back, one transaction a chunk; return the seconds it took.

    The connection must commit each statement by itself. Plans are kept from scanning tables that were empty when the
    session began, as the bill run keeps them.
    """
    started = time.perf_counter()
    for blocks in chunks:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            for block in blocks:
                with cursor.copy(f"COPY {block.table} FROM STDIN") as copy:
                    copy.write(block.text)
    return time.perf_counter() - started
