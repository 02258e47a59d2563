"""The meter `trtllm_energy`: the energy counter that trtllm-serve keeps of its GPUs, as a cross-check beside NVML or DCGM."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tpb_core.api import Channel, EventCode, Meter, MeterConfig, MeterContext, Reading, Reason, Unavailable, option
from tpb_core.api.faults import Faults

if TYPE_CHECKING:
    from tpb_engine_openai.address import Address
    from tpb_engine_openai.questions import Questions
    from tpb_engine_openai.scraper import Scrape, Scraper

_ASK_S = 5.0
_RESOLUTION_J = 1e-4
"""The server rounds to four places."""


@dataclass
class TrtllmEnergyConfig(MeterConfig):
    """Options of `meter=trtllm_energy`."""

    name: str = option("trtllm_energy", help="entry-point name of the meter")
    interval_ms: float = option(500.0, help="time between two readings of the counter", unit="ms")
    url: str | None = option(None, help="address of a running trtllm-serve, for example http://localhost:8000")
    api_key_env: str | None = option(None, help="name of the environment variable with an API key, where a proxy in front wants one")
    domain: str = option("gpu0", help="the GPU that the server uses, as the other meters name it: the counter is held against theirs")
    gpus: int = option(1, help="GPUs that the server uses; of several, the sum is kept and held against nothing", minimum=1)


class _Look(NamedTuple):
    """The server's own stamp of a look, kept beside the scrape it came with."""

    t_before_ns: int
    query_ns: int | None
    within: bool
    """The stamp lies between ours on this machine's CLOCK_MONOTONIC, so that clock is what it was read from."""


class TrtllmEnergyMeter(Meter[TrtllmEnergyConfig]):
    """One energy counter in J, role `check`: compared with the GPU's own meter. Alone, it is the only word on that GPU, and stands."""

    config_class = TrtllmEnergyConfig

    def __init__(self, config: TrtllmEnergyConfig, context: MeterContext) -> None:
        super().__init__(config, context)
        self._address: Address | None = None
        self._headers: dict[str, str] = {}
        self._scraper: Scraper | None = None
        self._looks: deque[_Look] = deque(maxlen=10_000)
        self._channel: Channel | None = None
        self._last_j = 0.0
        self._failing = False
        self._faults = Faults(context.report_event, context.clock)

    def discover(self) -> list[Channel]:
        """The counter. Raises Unavailable: not configured, unreachable, or a server without one (HTTP 404 or 503)."""
        from tpb_engine_openai.address import Address
        from tpb_engine_openai.api_key import key_headers
        from tpb_engine_openai.questions import Questions
        from tpb_engine_trtllm.energy_answer import PATH, NoEnergy, read_answer

        if not self.config.url:
            raise Unavailable(
                "the trtllm_energy meter needs the address of a trtllm-serve",
                reason=Reason.NOT_CONFIGURED,
                fix="meter.trtllm_energy.url=http://localhost:8000",
            )
        self._address = Address.parse(self.config.url, "meter.trtllm_energy.url", endings=(PATH, "/v1"))
        self._headers = key_headers(self.config.api_key_env, self._address, "meter.trtllm_energy.api_key_env")
        with Questions(self._address, self._headers, _ASK_S) as questions:
            try:
                read_answer(*questions.ask(PATH))
            except NoEnergy as missing:
                raise Unavailable(
                    f"{self._address}: {missing}",
                    reason=Reason.UNSUPPORTED,
                    fix=f"Look at it with:  curl {self._address}{PATH}   It takes a recent trtllm-serve that can read its GPUs' NVML "
                    "energy counters; the meter nvml reads them too.",
                ) from missing
        self._channel = self._describe(str(self._address))
        return [self._channel]

    def _describe(self, address: str) -> Channel:
        node = self.context.node
        several = self.config.gpus > 1  # no domain of the tree is their sum, so it must not enter one
        domain = f"{node}/{'trtllm_gpus' if several else self.config.domain}"
        return Channel(
            channel=f"{domain}/trtllm_energy",
            domain=domain,
            parent=domain.rpartition("/")[0],
            node=node,
            scope="gpu",
            role=None if several else "check",
            kind="counter" if several else "energy_counter",
            unit="J",
            evidence="measured",
            meter="trtllm_energy",
            device=address,
            sensor=f"{self.context.machine_id}/{address}/energy_metrics",
            resolution=_RESOLUTION_J,
            wrap=0.0,
        )

    def open(self) -> None:
        """Begin to read in the background."""
        from tpb_engine_openai.questions import Questions
        from tpb_engine_openai.scraper import Scraper

        if self._address is None:
            self.discover()
        assert self._address is not None
        questions, now_ns = Questions(self._address, self._headers, _ASK_S), self.context.clock.now_ns
        self._scraper = Scraper([lambda: self._look(questions, now_ns)], questions, self.config.interval_ms * 1e-3, now_ns)

    def _look(self, questions: Questions, now_ns: Callable[[], int]) -> Scrape:
        """One question, in the scraper's thread."""
        from tpb_engine_openai.questions import NoAnswer
        from tpb_engine_openai.scraper import Scrape
        from tpb_engine_trtllm.energy_answer import PATH, NoEnergy, read_answer

        before_ns, steady_ns = now_ns(), time.monotonic_ns()
        try:
            answer = read_answer(*questions.ask(PATH))
        except NoAnswer as error:
            return Scrape(before_ns, now_ns(), {}, error.what)
        except NoEnergy as error:
            return Scrape(before_ns, now_ns(), {}, str(error))
        after_ns, end_ns = now_ns(), time.monotonic_ns()
        within = answer.query_ns is not None and steady_ns <= answer.query_ns + 1_000 and answer.query_ns <= end_ns + 1_000
        self._looks.append(_Look(before_ns, answer.query_ns, within))
        return Scrape(before_ns, after_ns, {"joules": answer.joules}, "")

    def read(self) -> Iterable[Reading]:
        """What was read since the last call, with the server's own stamp."""
        found = [] if self._scraper is None or self._channel is None else self._scraper.take()
        return [reading for scrape in found if (reading := self._reading(scrape)) is not None]

    def _reading(self, scrape: Scrape) -> Reading | None:
        assert self._channel is not None
        name = self._channel.channel
        if scrape.problem:
            self._failing = True
            self._faults.happened(EventCode.METER_ERROR, name, scrape.problem)
            return None
        if self._failing:
            self._failing = False
            self._faults.recovered(name)
        joules = scrape.values["joules"]
        if joules < self._last_j:
            words = f"the counter fell from {self._last_j:g} to {joules:g} J: the server started again"
            self.context.report_event(EventCode.COUNTER_RESET, words, name)
        self._last_j = joules
        look = self._look_of(scrape.t_before_ns)
        if look is None or look.query_ns is None:
            return Reading(name, scrape.t_before_ns, scrape.t_after_ns, joules)
        clock = "monotonic" if look.within else "device"
        return Reading(name, scrape.t_before_ns, scrape.t_after_ns, joules, look.query_ns, clock)

    def _look_of(self, t_before_ns: int) -> _Look | None:
        while self._looks and self._looks[0].t_before_ns < t_before_ns:
            self._looks.popleft()
        return self._looks.popleft() if self._looks and self._looks[0].t_before_ns == t_before_ns else None

    def at_window_edge(self, window: str) -> None:
        """Read at once, so that readings enclose the window."""
        if self._scraper is not None:
            self._scraper.look_now()

    def close(self) -> None:
        """End the thread. Idempotent."""
        scraper, self._scraper = self._scraper, None
        if scraper is not None:
            scraper.close()
            self._faults.flush()
