"""Options of the Redfish meter."""

from __future__ import annotations

from dataclasses import dataclass

from tpb_core.api import MeterConfig, option


@dataclass
class RedfishConfig(MeterConfig):
    """Which services, how to log in, and which of their parts are this node's. No option holds a password."""

    name: str = option("redfish", help="entry-point name of the meter")
    interval_ms: float = option(1000.0, help="time between two readings; most controllers have nothing new within a second", unit="ms")
    url: str = option("", help="address of the service, https://BMC; several (a server's and a PDU's) with blanks between")
    auth: str = option("session", help="session: a token that is given back at the end; basic: user and password each time; none",
                       choices=("session", "basic", "none"))  # fmt: skip
    user: str = option("", help="user at the service; empty: from the environment", secret=True)
    user_env: str = option("REDFISH_USER", help="environment variable with the user")
    password_env: str = option("REDFISH_PASSWORD", help="environment variable with the password")
    password_file: str = option("", help="file with the password in its first line; goes before the environment")
    verify_tls: bool = option(True, help="refuse a service whose certificate is not trusted; false also allows http://")
    ca_file: str = option("", help="file with the certificates to trust (PEM), for services with a certificate of their own")
    chassis: list[str] = option([], help="ids of the chassis that are this node; empty: the one with power of its own")
    outlets: list[str] = option([], help="outlets that feed this node, PDU/OUTLET each; they add up to the node")
    processors: bool = option(True, help="read GPUs and processor modules too, where the service has them")
    averaging_ms: float | None = option(None, help="power readings are means over this time; none: unknown", unit="ms")
    update_ms: float | None = option(1000.0, help="time between two new values", unit="ms")
    delay_ms: float | None = option(None, help="how late a value is shown; none: unknown", unit="ms")
    timeout_s: float = option(10.0, help="longest wait for one answer", unit="s", minimum=0.1)
    discover_s: float = option(30.0, help="longest time for finding out what a service offers", unit="s")
    stuck_s: float = option(30.0, help="a sensor that shows one value for so long while another of the node moves is reported", unit="s")
    disagreement_rel: float = option(0.15, help="chassis and sum of supplies are reported when they differ by more than this share")
