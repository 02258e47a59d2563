"""The meter `server`: what an inference server counts, read from its Prometheus metrics. Tokens without a load of ours (`tpb attach`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tpb_core.api import Channel, EventCode, Meter, MeterConfig, MeterContext, Reading, Reason, Unavailable, option
from tpb_core.api.faults import Faults

if TYPE_CHECKING:
    from tpb_engine_openai.address import Address
    from tpb_engine_openai.questions import Questions
    from tpb_engine_openai.scraper import Scrape, Scraper

_ASK_S = 5.0


@dataclass
class ServerMeterConfig(MeterConfig):
    """Options of `meter=server`."""

    name: str = option("server", help="entry-point name of the meter")
    interval_ms: float = option(1000.0, help="time between two readings of the server's metrics", unit="ms")
    url: str | None = option(None, help="address of an inference server, or of its metrics page, for example http://localhost:8000/metrics")
    api_key_env: str | None = option(None, help="name of the environment variable with an API key, where the metrics want one")


class ServerMeter(Meter[ServerMeterConfig]):
    """Counters (tokens, finished requests, preemptions) and gauges (running, waiting, KV cache) of a server."""

    config_class = ServerMeterConfig

    def __init__(self, config: ServerMeterConfig, context: MeterContext) -> None:
        super().__init__(config, context)
        self._scraper: Scraper | None = None
        self._path = ""
        self._address: Address | None = None
        self._headers: dict[str, str] = {}
        self._has_energy = False
        self._names: dict[str, str] = {}
        """Value -> channel."""
        self._last: dict[str, float] = {}
        self._extensions: dict[str, Any] = {}
        self._faults = Faults(context.report_event, context.clock)
        self._failing = False

    def discover(self) -> list[Channel]:
        """The channels that this server has. Raises Unavailable (not configured, unreachable, no metrics)."""
        from tpb_engine_openai.address import Address
        from tpb_engine_openai.api_key import key_headers
        from tpb_engine_openai.metric_names import METRICS, PATHS
        from tpb_engine_openai.questions import Questions
        from tpb_engine_openai.scraper import scrape_energy

        if not self.config.url:
            raise Unavailable(
                "the server meter needs the address of a server",
                reason=Reason.NOT_CONFIGURED,
                fix="meter.server.url=http://localhost:8000",
            )
        address = self._address = Address.parse(self.config.url, "meter.server.url", endings=("/v1",))
        given = next((path for path in reversed(PATHS) if address.prefix.endswith(path)), None)
        if given is not None:
            address = self._address = Address(address.secure, address.host, address.port, address.prefix.removesuffix(given))
        self._headers = key_headers(self.config.api_key_env, address, "meter.server.api_key_env")
        with Questions(address, self._headers, _ASK_S) as questions:
            values = self._find_path(questions, (given,) if given else PATHS)
            self._has_energy = bool(scrape_energy(questions, self.context.clock.now_ns).values)
            self._extensions = {"x_models": _models(questions)}
        channels = [self._channel(metric.channel, metric.kind, metric.unit) for metric in METRICS if metric.channel in values]
        if self._has_energy:
            # A plain counter: the server does not say which GPUs it adds up, and with their own meters they would be counted twice.
            energy = self._channel("gpu_energy", "counter", "J")
            energy.sensor = f"{address}/energy_metrics"
            channels.append(energy)
        self._names = {channel.channel.rpartition("/")[2]: channel.channel for channel in channels}
        return channels

    def _find_path(self, questions: Questions, paths: Sequence[str]) -> dict[str, float]:
        from tpb_engine_openai.scraper import scrape

        if len(paths) > 1 and _is_trtllm(questions):
            paths = paths[1:]
        problems = []
        for path in paths:
            found = scrape(questions, path, self.context.clock.now_ns)
            if found.values:
                self._path = path
                return found.values
            problems.append(found.problem or f"{path} has none of the metrics that are known here")
        unreachable = all("does not answer" in problem for problem in problems)
        raise Unavailable(
            f"{questions.address} shows no metrics: {'; '.join(dict.fromkeys(problems))}",
            reason=Reason.UNREACHABLE if unreachable else Reason.UNSUPPORTED,
            fix="Check it with:  curl " + f"{questions.address}/metrics"
            "   (SGLang: --enable-metrics, llama-server: --metrics, trtllm-serve: return_perf_metrics)",
        )

    def _channel(self, name: str, kind: str, unit: str) -> Channel:
        node = self.context.node
        return Channel(
            channel=f"{node}/server/{name}",
            domain=f"{node}/server",
            parent=node,
            node=node,
            scope="other",
            kind=kind,
            unit=unit,
            evidence="measured",
            meter="server",
            device=str(self._address),
            update_ms=self.config.interval_ms,
            extensions=dict(self._extensions),
        )

    def open(self) -> None:
        """Begin to read in the background."""
        from tpb_engine_openai.questions import Questions
        from tpb_engine_openai.scraper import Scraper, scrape, scrape_energy

        if self._address is None:
            self.discover()
        assert self._address is not None
        questions, now_ns = Questions(self._address, self._headers, _ASK_S), self.context.clock.now_ns
        looks = [lambda: scrape(questions, self._path, now_ns)]
        if self._has_energy:
            looks.append(lambda: scrape_energy(questions, now_ns))
        self._scraper = Scraper(looks, questions, self.config.interval_ms * 1e-3, now_ns)

    def read(self) -> Iterable[Reading]:
        """What was read since the last call."""
        readings: list[Reading] = []
        for found in self._scraper.take() if self._scraper is not None else ():
            readings += self._readings_of(found)
        return readings

    def _readings_of(self, found: Scrape) -> list[Reading]:
        readings: list[Reading] = []
        if found.problem:
            self._failing = True
            for channel in self._names.values():
                self._faults.happened(EventCode.METER_ERROR, channel, found.problem)
            return []
        for name, value in found.values.items():
            if name not in self._names:
                continue
            channel = self._names[name]
            if self._failing:
                self._faults.recovered(channel)
            if value < self._last.get(name, 0.0) and name in ("output_tokens", "input_tokens", "finished_requests", "preemptions"):
                self.context.report_event(
                    EventCode.COUNTER_RESET, f"{name} fell from {self._last[name]:g} to {value:g}: the server started again", channel
                )
            self._last[name] = value
            readings.append(Reading(channel, found.t_before_ns, found.t_after_ns, value))
        if readings and set(found.values) != {"gpu_energy"}:
            self._failing = False
        return readings

    def at_window_edge(self, window: str) -> None:
        """Read at once, so that the counters enclose the window."""
        if self._scraper is not None:
            self._scraper.look_now()

    def close(self) -> None:
        """End the thread. Idempotent."""
        scraper, self._scraper = self._scraper, None
        if scraper is not None:
            scraper.close()
            self._faults.flush()


def _is_trtllm(questions: Questions) -> bool:
    """Whether it is TensorRT-LLM, whose /metrics is better not read: reading empties it for everybody else."""
    from tpb_engine_openai.server_kinds import OWNERS

    return any(OWNERS.get(str(row.get("owned_by", "")).lower()) == "trtllm" for row in _listing(questions))


def _models(questions: Questions) -> list[str]:
    return [str(row["id"])[:200] for row in _listing(questions) if "id" in row][:10]


def _listing(questions: Questions) -> list[dict[str, Any]]:
    """The models that the server lists; none where it lists none or does not answer."""
    from tpb_engine_openai.questions import NoAnswer

    try:
        rows = (questions.ask_json("/v1/models") or {}).get("data")
    except NoAnswer:
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
