"""Options of the IPMI meter."""

from __future__ import annotations

from dataclasses import dataclass

from tpb_core.api import MeterConfig, option

BACKENDS = ("auto", "ipmitool", "pyghmi")
INTERFACES = ("auto", "open", "lanplus", "lan")
PRIVILEGES = ("auto", "USER", "OPERATOR", "ADMINISTRATOR")


@dataclass
class IpmiConfig(MeterConfig):
    """Where the controller is, how to log in, and what is known of its sensors. No option holds a password."""

    name: str = option("ipmi", help="entry-point name of the meter")
    interval_ms: float = option(1000.0, help="time between two readings; most controllers have nothing new within a second", unit="ms")
    host: str = option("", help="name or address of the controller; empty: the one of this machine, through its device file")
    port: int = option(623, help="UDP port of the controller")
    backend: str = option("auto", help="who speaks IPMI; auto: ipmitool where installed, else pyghmi", choices=BACKENDS)
    interface: str = option("auto", help="ipmitool's interface; auto: lanplus with a host, open without", choices=INTERFACES)
    device: str = option("", help="device file of the local controller; empty: /dev/ipmi0 and its other names")
    cipher_suite: int = option(-1, help="RMCP+ cipher suite for ipmitool; -1: 3, then 17 (pyghmi negotiates by itself)")
    privilege: str = option("auto", help="privilege of the session; auto: the lowest that may read", choices=PRIVILEGES)
    user: str = option("", help="user at the controller; empty: from the environment", secret=True)
    user_env: str = option("IPMI_USER", help="environment variable with the user")
    password_env: str = option("IPMI_PASSWORD", help="environment variable with the password")
    password_file: str = option("", help="file with the password in its first line; goes before the environment")
    ipmitool: str = option("ipmitool", help="the program, or its path")
    dcmi: bool = option(True, help="read DCMI power where offered")
    sdr: bool = option(True, help="look for power sensors in the sensor repository")
    sdr_s: float = option(8.0, help="longest time for reading the sensor repository", unit="s")
    sensors: dict[str, str] = option(
        {},
        help="what sensors measure, {NAME: SCOPE[:ROLE][@DOMAIN]}, where names do not say it: {'Sys Pwr': node:primary}",
    )
    point: str = option("", help="side of the supply that node readings measure; empty: unknown", choices=("", "ac", "dc"))
    averaging_ms: float | None = option(None, help="readings are means over this time; none: unknown, as with most controllers", unit="ms")
    update_ms: float | None = option(1000.0, help="time between two new values", unit="ms")
    delay_ms: float | None = option(None, help="how late a value is shown; none: unknown", unit="ms")
    timeout_s: float = option(5.0, help="longest wait for one answer", unit="s", minimum=0.1)
    restarts: int = option(3, help="how often a session that died is opened again")
    restart_delay_s: float = option(2.0, help="pause before it is opened again; doubled each time", unit="s")
    stuck_s: float = option(30.0, help="a sensor that shows one value for so long while another of the node moves is reported", unit="s")
    disagreement_rel: float = option(0.15, help="DCMI and the sum of the supplies are reported when they differ by more than this share")
