"""From options to an open session: which program, which interface, which cipher suite, which user."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tpb_core.api import BadInput
from tpb_core.api.credentials import Credentials, read_credentials
from tpb_meter_ipmi import access
from tpb_meter_ipmi.config import PRIVILEGES, IpmiConfig
from tpb_meter_ipmi.link import Link, LinkError
from tpb_meter_ipmi.pure import PyghmiLink
from tpb_meter_ipmi.shell import IpmitoolLink

_ASK_CAPABILITIES = bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5")
"""RMCP, IPMI 1.5 without a session: Get Channel Authentication Capabilities, which every controller answers to anybody."""
_PROBES = 3
_CIPHER_SUITES = (3, 17)
_LOGIN_S = 12.0
_LONGEST_PASSWORD = 20


@dataclass(frozen=True)
class Way:
    """How a session is opened: everything decided, so that it can be opened again in the same way."""

    config: IpmiConfig
    backend: str
    interface: str
    device: str
    """Device file; empty over LAN."""
    cipher_suite: int
    privilege: str
    credentials: Credentials | None
    environ: Mapping[str, str] = field(repr=False)
    version: str = ""
    """The program with its version."""

    def with_more_privilege(self) -> Way | None:
        """The same way at the next higher privilege, where the options leave it open."""
        place = PRIVILEGES.index(self.privilege) + 1
        if self.device or self.config.privilege != "auto" or place == len(PRIVILEGES):
            return None
        return replace(self, privilege=PRIVILEGES[place])

    def __str__(self) -> str:
        suite = f", cipher suite {self.cipher_suite}" if self.interface == "lanplus" and self.backend == "ipmitool" else ""
        return f"{self.backend}, {self.interface}{suite}, {self.privilege}"

    def open(self) -> Link:
        """A new session. Raises LinkError."""
        config = self.config
        user, password = (self.credentials.user, self.credentials.password) if self.credentials else ("", "")
        if self.backend == "pyghmi":
            return PyghmiLink(config.host, config.port, user, password, privilege=self.privilege, timeout_s=config.timeout_s)
        arguments = [config.ipmitool, "-I", self.interface]
        details = self.interface
        if self.device:
            arguments += ["-d", _number(self.device)]
        else:
            arguments += ["-H", config.host, "-p", str(config.port), "-U", user, "-E", "-L", self.privilege, "-N", "2", "-R", "2"]
            details += f", {self.privilege}"
            if self.interface == "lanplus":
                arguments += ["-C", str(self.cipher_suite)]
                details += f", cipher suite {self.cipher_suite}"
        environ = {key: value for key, value in self.environ.items() if key not in ("IPMITOOL_PASSWORD", "IPMI_PASSWORD")}
        if self.credentials:
            environ["IPMI_PASSWORD"] = password
        try:
            link = IpmitoolLink(arguments, environ, login_s=_LOGIN_S, timeout_s=config.timeout_s, details=details)
        except OSError as error:
            raise LinkError(f"{config.ipmitool} cannot be started: {error}") from error
        link.backend = self.version
        return link


def ways(config: IpmiConfig, environ: Mapping[str, str]) -> list[Way]:
    """The ways to try, in order: cipher suites, at the lowest privilege. Raises Unavailable and BadInput."""
    local = not config.host
    device = _device(config) if local else ""
    credentials = None if local else _credentials(config, environ)
    backend = _backend(config, device)
    interface = ("open" if local else "lanplus") if config.interface == "auto" else config.interface
    if (interface == "open") != local:
        wanted = "needs meter.ipmi.host=BMC" if local else "takes no meter.ipmi.host"
        raise BadInput(f"meter.ipmi.interface={interface} {wanted}", "meter.ipmi.interface=auto")
    if not local and not answers(config.host, config.port):
        raise access.unreachable(config.host, config.port)
    suites = (config.cipher_suite,) if config.cipher_suite >= 0 else _CIPHER_SUITES
    if backend == "pyghmi" or interface != "lanplus":
        suites = suites[:1]
    version = _version(config.ipmitool) if backend == "ipmitool" else backend
    privilege = PRIVILEGES[1] if config.privilege == "auto" else config.privilege
    return [Way(config, backend, interface, device, suite, privilege, credentials, environ, version) for suite in suites]


def answers(host: str, port: int) -> bool:
    """Whether anybody speaks IPMI there: three questions of half a second each."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except OSError:
        return False
    with socket.socket(family, kind) as probe:
        probe.settimeout(0.5)
        for _ in range(_PROBES):
            try:
                probe.connect(address)
                probe.send(_ASK_CAPABILITIES)
                if probe.recv(512)[:1] == b"\x06":
                    return True
            except OSError:
                continue
    return False


def _backend(config: IpmiConfig, device: str) -> str:
    has_ipmitool = shutil.which(config.ipmitool) is not None
    has_pyghmi = importlib.util.find_spec("pyghmi") is not None and device in ("", "/dev/ipmi0")
    if config.backend == "ipmitool" and not has_ipmitool:
        raise access.not_installed(f"{config.ipmitool} is not installed")
    if config.backend == "pyghmi" and not has_pyghmi:
        raise access.not_installed("pyghmi is not installed")
    if not has_ipmitool and not has_pyghmi:
        raise access.not_installed(f"neither {config.ipmitool} nor pyghmi is installed")
    return config.backend if config.backend != "auto" else ("ipmitool" if has_ipmitool else "pyghmi")


def _device(config: IpmiConfig) -> str:
    found = [name for name in ([config.device] if config.device else access.DEVICES) if Path(name).exists()]
    if not found:
        raise access.no_device()
    if not os.access(found[0], os.R_OK | os.W_OK):
        raise access.no_permission(found[0])
    return found[0]


def _version(program: str) -> str:
    """What the program calls itself."""
    try:
        done = subprocess.run([program, "-V"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return "ipmitool"
    match = re.search(r"version\s+([\w.+-]{1,40})", done.stdout + done.stderr)
    return f"ipmitool {match[1]}" if match else "ipmitool"


def _credentials(config: IpmiConfig, environ: Mapping[str, str]) -> Credentials:
    credentials = read_credentials(config, environ, f"the controller {config.host}")
    if len(credentials.password.encode()) > _LONGEST_PASSWORD:
        raise BadInput(f"IPMI passwords have at most {_LONGEST_PASSWORD} bytes", "Shorten it at the controller.")
    return credentials


def _number(device: str) -> str:
    match = re.search(r"(\d+)$", device)
    return match[1] if match else "0"
