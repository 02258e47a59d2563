"""One run made ready for attribution: its tree, meters, activity and windows, each built once and kept while a ledger is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tpb_core.api import Channel, Window
from tpb_core.energy.activity import Activity, activity_of, instances_on
from tpb_core.energy.at_rest import AtRest, at_rest
from tpb_core.energy.domains import Tree, tree_of
from tpb_core.energy.lag import Lag, fit_lag, is_slow, with_lag
from tpb_core.energy.meters import ChannelMeter, meter_of
from tpb_core.energy.observations import Observations
from tpb_core.energy.timeline import Timeline

if TYPE_CHECKING:
    from tpb_core.api import RunView

IDLE_WINDOWS = {"net_loaded": ("idle_loaded_before", "idle_loaded_after"), "net_bare": ("idle_bare",)}
"""The windows from which the static power of each net basis is told."""


class RunEnergy:
    """A run with everything that several windows share. Times are seconds after `origin_ns`."""

    def __init__(self, run: RunView) -> None:
        self.run = run
        self.run_id = run.run_id
        self.tree: Tree = tree_of(run.channels)
        self.origin_ns = min((window.t0_ns for window in run.windows), default=0)
        self.activity: Activity = activity_of(run, self.origin_ns)
        self.virtual = bool((run.manifest.get("clock") or {}).get("virtual"))
        self._meters: dict[str, ChannelMeter] = {}
        self._timelines: dict[frozenset[str] | None, Timeline] = {}
        self._instances: dict[str, frozenset[str] | None] = {}
        self._at_rest: dict[str, AtRest | None] = {}
        self.lags: dict[str, Lag] = {}
        self._sources: dict[tuple[str, ...], str] = {}

    def bounds_s(self, window: Window) -> tuple[float, float]:
        """A window in seconds after the origin."""
        return (window.t0_ns - self.origin_ns) / 1e9, (window.t1_ns - self.origin_ns) / 1e9

    def window(self, name: str) -> Window | None:
        """The window of that name, where it has an end."""
        return next((window for window in self.run.windows if window.window == name), None)

    def meter(self, channel: Channel) -> ChannelMeter:
        """A channel's observations."""
        if channel.channel not in self._meters:
            meter = meter_of(self.run, channel, self.origin_ns)
            inside = self._in_band(channel) if is_slow(channel) else []
            lag = fit_lag(meter.observations, inside) if inside else None
            if lag is not None:
                self.lags[channel.channel] = lag
                meter = meter_of(self.run, with_lag(channel, lag), self.origin_ns)
            self._meters[channel.channel] = meter
        return self._meters[channel.channel]

    def _in_band(self, channel: Channel) -> list[Observations]:
        """Faster meters inside a channel's domain, against which its lag can be told."""
        if channel.domain not in self.tree.domains:
            return []
        inner = [giver for name in self.tree.coarsest(channel.domain) for giver in self.tree.domains[name].givers]
        found = [self.meter(giver).observations for giver in inner if not is_slow(giver)]
        return [observations for observations in found if len(observations)]

    def instances(self, domain: str) -> frozenset[str] | None:
        """The instances that run on a domain; None: all."""
        if domain not in self._instances:
            self._instances[domain] = instances_on(self.run, self.tree, domain)
        return self._instances[domain]

    def timeline(self, domain: str) -> Timeline:
        """What runs on a domain."""
        instances = self.instances(domain)
        if instances not in self._timelines:
            self._timelines[instances] = self.activity.timeline(instances)
        return self._timelines[instances]

    def at_rest(self, channel: Channel) -> AtRest | None:
        """What a channel reads in the idle windows, the model loaded; None without any."""
        if channel.channel not in self._at_rest:
            self._at_rest[channel.channel] = at_rest(self.meter(channel).observations, self.rest_spans_s())
        return self._at_rest[channel.channel]

    def rest_spans_s(self) -> list[tuple[float, float]]:
        """The idle windows with the model loaded, in seconds after the origin."""
        windows = [self.window(name) for name in IDLE_WINDOWS["net_loaded"]]
        return [self.bounds_s(window) for window in windows if window is not None and window.t1_ns > window.t0_ns]

    def once(self, *what: str) -> str:
        """The budget source of something that happened once in this run: `<run_id>/<n>`, the same for the same words."""
        if what not in self._sources:
            self._sources[what] = f"{self.run_id}/{len(self._sources) + 1}"
        return self._sources[what]
