"""The attributor interface: from one bundle (or the bundles of a study) to the ledger. A pure function; runs anywhere, any time later."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from tpb_core.api.channel import Channel
from tpb_core.api.ledger import Ledger
from tpb_core.api.options import option
from tpb_core.api.versions import ATTRIBUTOR_INTERFACE

if TYPE_CHECKING:  # arrays are numpy's; the contract itself imports nothing outside the standard library
    import numpy as np
    import numpy.typing as npt


@dataclass
class AttributorConfig:
    """Options that every attributor has. A plugin's config class extends it."""

    name: str = option("???", help="entry-point name of the attributor")


@dataclass(frozen=True)
class Column:
    """A column as arrays: `values` (NULL places hold 0, NaN or "") and `valid` (False where NULL)."""

    values: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Series:
    """The readings of one channel in time order, raw: run clock in ns, half width of the read call in ns, value as read."""

    t_ns: npt.NDArray[np.int64]
    half_width_ns: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]


@dataclass(frozen=True)
class StepMembers:
    """Members of all steps, flat. Members of step row i are `[offsets[i], offsets[i + 1])`; `known[i]` is False where they are NULL."""

    offsets: npt.NDArray[np.int64]
    known: npt.NDArray[np.bool_]
    request: npt.NDArray[np.int32]
    prefill_tokens: npt.NDArray[np.int32]
    decode_tokens: npt.NDArray[np.int32]
    emitted_tokens: npt.NDArray[np.int32]
    kv_tokens: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Window:
    """A named stretch of the run, in ns of the run clock."""

    window: str
    t0_ns: int
    t1_ns: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return (self.t1_ns - self.t0_ns) / 1e9


class RunView(Protocol):
    """One run's inputs, read only. `tpb_core.store` implements it over a bundle; tests and simulations may bring their own."""

    @property
    def run_id(self) -> str: ...

    @property
    def manifest(self) -> Mapping[str, Any]: ...

    @property
    def channels(self) -> Sequence[Channel]: ...

    @property
    def windows(self) -> Sequence[Window]:
        """Windows that have an end, in order of their start."""

    def series(self, channel: str) -> Series:
        """Readings of a channel; empty arrays where it delivered none."""

    def columns(self, table: str) -> Mapping[str, Column] | None:
        """All flat columns of `steps`, `requests`, `events` or an optional table; None where the bundle has no such file.

        Rows of `steps` come in order of `t0_ns`, those of `requests` in order of `request`.
        """

    def step_members(self) -> StepMembers | None:
        """Members of the steps in the row order of `columns("steps")`; None without a step log."""

    def token_stamps(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
        """`(offsets, t_ns)` of all output tokens in the row order of `columns("requests")`; None where no request has stamps."""


A_co = TypeVar("A_co", bound=AttributorConfig, covariant=True)


class Attributor(ABC, Generic[A_co]):
    """One method (or a family that shares its preconditions)."""

    interface_version: ClassVar[str] = ATTRIBUTOR_INTERFACE
    config_class: ClassVar[type[AttributorConfig]] = AttributorConfig
    scope: ClassVar[str] = "run"
    """`run`: takes one bundle. `study`: takes all bundles of a study."""

    def __init__(self, config: A_co) -> None:
        self.config = config

    @abstractmethod
    def attribute(self, runs: Sequence[RunView]) -> list[Ledger]:
        """The ledgers of one run (`scope == "run"`: exactly one is passed) or of a study. One ledger a method variant.

        Raises `PreconditionFailed` by name where the method does not apply.
        """
