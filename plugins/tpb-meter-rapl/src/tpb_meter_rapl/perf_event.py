"""The system call perf_event_open by ctypes: a counter of one CPU, for all processes on it."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

_SYSCALL_NUMBER = {"x86_64": 298, "i386": 336, "i686": 336, "aarch64": 241}
_ATTR_SIZE = 64
"""PERF_ATTR_SIZE_VER0: all that a plain counter needs, and accepted by every kernel."""
_FLAG_CLOEXEC = 8


def event_attr(pmu_type: int, config: int) -> bytes:
    """A `struct perf_event_attr` of a free-running counter: type, size, config, and zeros (not disabled, no sampling, plain value)."""
    return struct.pack("=IIQ", pmu_type, _ATTR_SIZE, config).ljust(_ATTR_SIZE, b"\0")


def open_event(pmu_type: int, config: int, cpu: int) -> int:
    """A file descriptor that counts the event on one CPU; reading it gives 8 bytes, an unsigned count. Raises OSError with the errno."""
    number = _SYSCALL_NUMBER.get(platform.machine())
    if number is None:
        raise OSError(38, f"perf_event_open is not known for {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    attr = ctypes.create_string_buffer(event_attr(pmu_type, config), _ATTR_SIZE)
    every_process, no_group = -1, -1
    arguments = (ctypes.c_int(every_process), ctypes.c_int(cpu), ctypes.c_int(no_group), ctypes.c_ulong(_FLAG_CLOEXEC))
    fd = int(libc.syscall(ctypes.c_long(number), attr, *arguments))
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"perf_event_open: {os.strerror(error)}")
    return fd
