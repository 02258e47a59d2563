"""User and password of the controller: from the environment or a file. Never in an argument, a message or the stored configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tpb_core.api import BadInput, Reason, Unavailable
from tpb_meter_ipmi.config import IpmiConfig

_LONGEST = 20
"""Bytes of a password in IPMI 2.0."""


@dataclass(frozen=True)
class Credentials:
    """Who logs in. The password is kept out of `repr`."""

    user: str
    password: str = field(repr=False)


def read_credentials(config: IpmiConfig, environ: Mapping[str, str]) -> Credentials:
    """Raises Unavailable (`not_configured`) where there are none, BadInput for a file that cannot be read."""
    user = config.user or environ.get(config.user_env, "")
    if config.password_file:
        password = _first_line(Path(config.password_file).expanduser())
    else:
        password = environ.get(config.password_env, "")
    if not user or not password:
        missing = " and ".join(name for name, value in (("a user", user), ("a password", password)) if not value)
        raise Unavailable(
            f"the controller {config.host} wants {missing}",
            reason=Reason.NOT_CONFIGURED,
            fix=f"export {config.user_env}=USER; read -rs {config.password_env}; export {config.password_env}"
            "   (or the password in a file: meter.ipmi.password_file=PATH)",
        )
    if any(character in user + password for character in "\0\r\n") or len(password.encode()) > _LONGEST:
        raise BadInput(f"IPMI passwords have at most {_LONGEST} bytes and no line ends", f"Check {config.password_env}.")
    return Credentials(user, password)


def _first_line(path: Path) -> str:
    try:
        return path.read_text().split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"meter.ipmi.password_file={path} cannot be read: {error}", "The password is its first line.") from error
