"""Why a service cannot be read, and what to type."""

from __future__ import annotations

from tpb_core.api import Reason, Unavailable
from tpb_meter_redfish.client import ServiceError


def not_configured() -> Unavailable:
    """No address."""
    return Unavailable(
        "the redfish meter needs the address of a management controller or PDU",
        reason=Reason.NOT_CONFIGURED,
        fix="meter.redfish.url=https://BMC with REDFISH_USER and REDFISH_PASSWORD in the environment",
    )


def unusable(where: str, error: ServiceError) -> Unavailable:
    """The service cannot be talked to."""
    if error.certificate:
        return Unavailable(
            f"{where}: {error}",
            reason=Reason.UNREACHABLE,
            fix="Trust its certificate: meter.redfish.ca_file=FILE.pem, and use the name that stands in it. "
            "Or do without, knowing that anybody in between could read the password: meter.redfish.verify_tls=false",
        )
    if error.status in (400, 401, 403):
        return Unavailable(
            f"{where}: {error}",
            reason=Reason.NO_PERMISSION,
            fix="Check user and password (REDFISH_USER, REDFISH_PASSWORD or meter.redfish.password_file); "
            "the user needs the role ReadOnly. Where sessions are switched off: meter.redfish.auth=basic",
        )
    return Unavailable(
        f"{where} cannot be read: {error}",
        reason=Reason.UNREACHABLE,
        fix="Check meter.redfish.url, the network, and that Redfish is enabled on the controller. A slow one: meter.redfish.timeout_s=30",
    )


def no_power(where: str, left_out: list[str]) -> Unavailable:
    """The service works and tells no power."""
    noted = f" (left out: {'; '.join(left_out[:3])})" if left_out else ""
    return Unavailable(
        f"{where} tells no power or energy{noted}",
        reason=Reason.UNSUPPORTED,
        fix="Look yourself: curl -u USER https://BMC/redfish/v1/Chassis. Some controllers tell power over IPMI only: +meter=ipmi",
    )
