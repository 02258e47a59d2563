"""Mean power times duration: the simplest method there is, for the node alone."""

from __future__ import annotations

from collections.abc import Sequence

from tpb_core.api import Attributor, AttributorConfig, EnergyRow, Ledger, Reason, RunView, ValidityRow


class AcmeAttributor(Attributor[AttributorConfig]):
    """Totals of every window in which the acme meter was read."""

    def attribute(self, runs: Sequence[RunView]) -> list[Ledger]:
        """One ledger."""
        run = runs[0]
        ledger = Ledger(method="acme/mean", attributor_version="3.2.1")
        for channel in (c for c in run.channels if c.kind == "power" and c.role in (None, "primary")):
            series = run.series(channel.channel)
            for window in run.windows:
                inside = (series.t_ns >= window.t0_ns) & (series.t_ns < window.t1_ns)
                mean_w = float(series.value[inside].mean()) if inside.any() else None
                joules = None if mean_w is None else mean_w * window.duration_s
                for phase, value in (("total", joules), ("prefill", None), ("decode", None), ("idle", None), ("unattributed", joules)):
                    reason = None if value is not None else Reason.NO_READING if phase == "total" else Reason.NOT_RESOLVABLE
                    ledger.energy.append(
                        EnergyRow(
                            window.window,
                            channel.domain,
                            phase,
                            ledger.method,
                            "gross",
                            joules=value,
                            mean_w=mean_w if phase == "total" else None,
                            scopes=[channel.scope],
                            evidence="measured",
                            derivation="metered",
                            reason=reason,
                        )
                    )
        ledger.validity.append(ValidityRow(check="x_acme", passed=True, gate=False))
        return [ledger]
