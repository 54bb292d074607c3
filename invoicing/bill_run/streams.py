"""Several chunks in one worker's hands at once: while PostgreSQL stores one chunk, Python prices the next."""

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context

from django.db import connection


def in_streams(count: int, stream: Callable[[], bool]) -> bool:
    """Call `stream` in `count` threads, the caller's own being the first; return whether any of them returned True.

    Each further thread has a database connection of its own and closes it. What a stream raises is raised here once
    all have ended.
    """
    with _garbage_collector_at_rest(), ThreadPoolExecutor(max(count - 1, 1)) as pool:
        others = [pool.submit(copy_context().run, _connected, stream) for _ in range(count - 1)]
        results = [stream(), *(other.result() for other in others)]
    return any(results)


def _connected(stream: Callable[[], bool]) -> bool:
    try:
        return stream()
    finally:
        connection.close()


@contextmanager
def _garbage_collector_at_rest() -> Iterator[None]:
    """Pause the search for reference cycles while chunks are worked on.

    A chunk is a hundred thousand small tuples without a cycle among them; looking through them over and over would
    take a third of a worker's time. Reference counting frees them all the same.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
