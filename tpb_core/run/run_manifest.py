"""The manifest of a run while it grows: written before the model is loaded, and again when something is known."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tpb_core import __version__, drivers
from tpb_core.api.channel import LEDGER_KINDS
from tpb_core.api.clock import Clock
from tpb_core.api.units import NS_PER_S
from tpb_core.config.schema import Point
from tpb_core.run.environment import describe_environment
from tpb_core.run.first_seconds import fill_in
from tpb_core.run.request_plan import RequestPlan
from tpb_core.run.summary import point_summary
from tpb_core.store.manifest import utc_text, write_manifest

_ANCHOR_EVERY_NS = 10 * NS_PER_S
_MOST_ANCHORS = 20_000


class RunManifest:
    """One JSON document; `write` replaces the file atomically."""

    def __init__(self, bundle: Path, run_id: str, study: dict[str, Any], point: Point, clock: Clock) -> None:
        self._bundle, self._clock = bundle, clock
        environment = describe_environment()
        self.document: dict[str, Any] = {
            "run_id": run_id,
            "status": "running",
            "status_reason": None,
            "study": study,
            "started_utc": utc_text(),
            "finished_utc": None,
            "clock": {"anchors": [], "virtual": clock.virtual},
            "nodes": [{"node": "n0", "hostname": _hostname(), "anchors": []}],
            "channels": [],
            "engine": {"name": point.engine["name"], "requested": _requested(point)},
            "step_log": {"available": False, "members": False, "reason": "no_step_log"},
            **point_summary(point),
            "environment": environment,
            "plugins": _plugins(point),
            "overhead": {},
            "x_tpb_version": __version__,
            "x_unavailable_meters": [],
        }
        self.anchor()

    def write(self) -> None:
        """Replace manifest.json. Raises OSError."""
        write_manifest(self._bundle, self.document)

    def anchor(self) -> None:
        """Tie the run clock to UTC: at window edges and every ten seconds."""
        run_ns, realtime_ns = self._clock.now_ns(), time.time_ns()
        anchors = self.document["clock"]["anchors"]
        if len(anchors) < _MOST_ANCHORS:
            anchors.append({"run_ns": run_ns, "realtime_ns": realtime_ns})
        self._anchored_ns = run_ns

    def anchor_if_due(self) -> None:
        """Call it several times a minute."""
        if self._clock.now_ns() - self._anchored_ns >= _ANCHOR_EVERY_NS:
            self.anchor()

    def meters_started(self, started: dict[str, Any]) -> None:
        """Channels, and the meters that do not work here with their reasons."""
        self.document["channels"] = started["channels"]
        self.document["x_unavailable_meters"] = started["unavailable"]
        self.document["plugins"] += started["plugins"]

    def power_controlled(self, limit_w: float | None, clock_mhz: int | None, effective_w: dict[str, float]) -> None:
        """The power limit and clock that were asked for, and the limit that each device really has."""
        self.document["x_power_control"] = {"limit_w": limit_w, "lock_clock_mhz": clock_mhz, "effective_limit_w": effective_w}

    def gate_waited(self, opened: bool | None, waited_s: float) -> None:
        """Whether the gate before the run opened; None where no channel tells."""
        self.document["x_gate"] = {"opened": opened, "waited_s": waited_s}

    def has_sensor(self) -> bool:
        """Whether any channel gives energy that is not merely estimated."""
        return any(c["kind"] in LEDGER_KINDS and c["evidence"] != "estimated" for c in self.document["channels"])

    def observed(self, description: dict[str, Any]) -> None:
        """A run without an engine of ours: what is watched stands in its place, and no load and no configuration of one is claimed."""
        self.document["engine"] = description
        self.document["load"] = {"shape": "observed", "parameters": {}, "seed": None, "output_length": None}
        self.document["choices"] = {key: value for key, value in self.document["choices"].items() if key.startswith("meter")}
        self.document["plugins"] = []

    def engine_loaded(self, description: dict[str, Any]) -> None:
        """What was loaded; its step log goes to the top level."""
        engine = dict(description)
        self.document["step_log"] = engine.pop("step_log")
        engine["requested"] = {**self.document["engine"]["requested"], **engine.get("requested", {})}
        self.document["engine"] = engine

    def options_that_differ(self) -> list[tuple[str, Any, Any]]:
        """`(option, requested, effective)` where the engine uses another value than the one asked for."""
        engine = self.document["engine"]
        requested, effective = engine.get("requested") or {}, engine.get("effective") or {}
        return [
            (key, value, effective[key])
            for key, value in requested.items()
            if value not in (None, "auto") and key in effective and effective[key] != value
        ]

    def planned(self, plan: RequestPlan) -> None:
        """How inputs are sent, and what the prompt source had to say."""
        self.document["load"]["inputs"] = plan.inputs
        self.document["load"]["distinct_prompts"] = len(plan.prompts)
        self.document["load"]["notes"] = plan.notes

    def measured(self, before: dict[str, Any], after: dict[str, Any], *, worker_is_client: bool) -> None:
        """What our own processes cost between the edges of `measure`, and how long the whole machine worked."""
        sampler_before, sampler_after = before["sampler"], after["sampler"]
        self.document["overhead"] = {
            "session": {"measure_cpu_s": after["session_cpu_s"] - before["session_cpu_s"]},
            "worker": {"measure_cpu_s": after["worker_cpu_s"] - before["worker_cpu_s"]},
            "sampler": {
                "measure_cpu_s": sampler_after["cpu_s"] - sampler_before["cpu_s"],
                "measure_samples": sampler_after["samples"] - sampler_before["samples"],
                "measure_ticks": sampler_after["ticks"] - sampler_before["ticks"],
                "measure_ticks_missed": sampler_after["ticks_missed"] - sampler_before["ticks_missed"],
            },
        }

        if after["host_cpu_s"] is not None:
            overhead = self.document["overhead"]
            clients = ["session", *(["worker"] if worker_is_client else [])]
            overhead["host"] = {"measure_cpu_s": after["host_cpu_s"] - before["host_cpu_s"]}
            overhead["client"] = {"measure_cpu_s": sum(overhead[name]["measure_cpu_s"] for name in clients), "processes": clients}

    def ended(self, sampler_cost: dict[str, Any], worker_last_words: dict[str, Any] | None) -> None:
        """The last anchor, what the first seconds of each channel showed, and the costs of the whole run."""
        self.anchor()
        sampler_cost = dict(sampler_cost)
        seen = sampler_cost.pop("characterised", {})
        for row in self.document["channels"]:
            if row["channel"] in seen:
                fill_in(row, seen[row["channel"]])
        overhead = self.document["overhead"]
        overhead.setdefault("session", {})["cpu_s"] = time.process_time()
        overhead["sampler"] = {**overhead.get("sampler", {}), **sampler_cost}
        if worker_last_words is not None:
            overhead.setdefault("worker", {})["cpu_s"] = worker_last_words["cpu_s"]


def _requested(point: Point) -> dict[str, Any]:
    """Options of the engine that were set by somebody, secrets redacted."""
    configured = point.config.get("engine") or {}
    return {key: value for key, value in configured.items() if key != "name" and value is not None}


def _plugins(point: Point) -> list[dict[str, Any]]:
    wanted = [("tpb.engines", point.engine["name"]), ("tpb.prompts", point.prompts["name"])]
    wanted += [("tpb.attributors", options["name"]) for options in point.attributors]
    rows = []
    for group, name in wanted:
        plugin = next((plugin for plugin in drivers.installed(group) if plugin.name == name), None)
        if plugin is not None:
            rows.append({"group": group, "name": name, "distribution": plugin.distribution, "version": plugin.version})
    return rows


def _hostname() -> str:
    import socket

    return socket.gethostname()
