"""Run a function as a user without rights, for tests of permissions that are run by root (who may read everything)."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
NOBODY = 65534


def as_nobody(function: Callable[[], T]) -> T:
    """The result of `function`, called in a forked child as user and group `nobody`; without root, called as whoever we are.

    An exception in the child is raised here with its type and text. The result must survive pickling. Modules that the function needs
    must be imported before, because `nobody` may not be able to read them.
    """
    if os.geteuid() != 0:
        return function()
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            outcome: tuple[bool, object] = (True, function())
        except BaseException as error:
            outcome = (False, error)
        try:
            payload = pickle.dumps(outcome)
        except Exception as error:
            payload = pickle.dumps((False, RuntimeError(f"the result cannot be handed over: {error!r} ({outcome[1]!r})")))
        with os.fdopen(writing, "wb") as stream:
            stream.write(payload)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        received = stream.read()
    os.waitpid(child, 0)
    done, value = pickle.loads(received)
    if not done:
        raise value
    return value  # type: ignore[no-any-return]
