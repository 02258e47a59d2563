"""Why no controller can be read here, and what to type."""

from __future__ import annotations

from tpb_core.api import Reason, Unavailable

DEVICES = ("/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0")
INSTALL = (
    "sudo apt-get install ipmitool (or dnf install ipmitool), or without it: pip install 'pyghmi>=1.6.19' and meter.ipmi.backend=pyghmi"
)


def no_device() -> Unavailable:
    """This machine shows no controller."""
    return Unavailable(
        f"this machine has no IPMI device ({', '.join(DEVICES)})",
        reason=Reason.NO_SENSOR,
        fix="On a server with a BMC: sudo modprobe -a ipmi_si ipmi_devintf (in a container: --device /dev/ipmi0). "
        "Over the network: meter.ipmi.host=BMC with IPMI_USER and IPMI_PASSWORD in the environment.",
    )


def no_permission(device: str) -> Unavailable:
    """The device file may not be opened by this user."""
    rule = 'KERNEL=="ipmi[0-9]*", MODE="0660", GROUP="ipmi"'
    fix = [
        "One of these:",
        f"1. until the next boot: sudo chmod a+rw {device}",
        "2. for good: sudo groupadd -f ipmi && sudo usermod -aG ipmi $USER",
        f"             echo '{rule}' | sudo tee /etc/udev/rules.d/70-tpb-ipmi.rules",
        "             sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=ipmi, then log in again",
        '3. or run as root: sudo -E "$(command -v tpb)" ...',
        "Over the network no right on this machine is needed: meter.ipmi.host=BMC",
    ]
    return Unavailable(f"{device} may not be opened by this user", reason=Reason.NO_PERMISSION, fix="\n".join(fix))


def not_installed(what: str) -> Unavailable:
    """`what` is the sentence: neither ipmitool nor pyghmi, or not the one that was asked for."""
    return Unavailable(what, reason=Reason.NOT_INSTALLED, fix=INSTALL)


def unreachable(host: str, port: int) -> Unavailable:
    """Nobody answers IPMI at the address."""
    return Unavailable(
        f"nothing answers IPMI at {host}, UDP port {port}",
        reason=Reason.UNREACHABLE,
        fix="Check meter.ipmi.host and meter.ipmi.port, the firewall, and that IPMI over LAN is enabled on the controller "
        "(ipmitool lan print on the machine itself). Where it is not: redfish.",
    )


def refused(host: str, tried: str, said: str) -> Unavailable:
    """The controller answers, and no session comes about."""
    return Unavailable(
        f"the controller {host} opens no session ({tried}): {said}",
        reason=Reason.NO_PERMISSION,
        fix="Check user and password (IPMI_USER, IPMI_PASSWORD or meter.ipmi.password_file); a user with few rights needs "
        "meter.ipmi.privilege=USER; another cipher suite: meter.ipmi.cipher_suite=N; an old controller: meter.ipmi.interface=lan",
    )


def no_power(device: str, said: str) -> Unavailable:
    """The controller works and has nothing that measures power."""
    return Unavailable(
        f"the controller {device} offers neither a DCMI power reading ({said}) nor a power sensor",
        reason=Reason.UNSUPPORTED,
        fix="Look yourself: ipmitool dcmi power reading; ipmitool sdr elist full. Some controllers tell power over redfish only.",
    )


def may_not_read(device: str) -> Unavailable:
    """The session's privilege is too low for power."""
    return Unavailable(
        f"the controller {device} lets this user read no power (insufficient privilege)",
        reason=Reason.NO_PERMISSION,
        fix="Give the user a higher privilege at the controller, or name it: meter.ipmi.privilege=ADMINISTRATOR",
    )
