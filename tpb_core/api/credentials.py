"""User and password of a device on the network: from the environment or a file, never in an argument, a message or what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tpb_core.api.codes import Reason
from tpb_core.api.errors import BadInput, Unavailable


class CredentialOptions(Protocol):
    """The options of a meter that logs in somewhere. None holds a password; `user` is a secret option."""

    name: str
    user: str
    user_env: str
    password_env: str
    password_file: str


@dataclass(frozen=True)
class Credentials:
    """Who logs in. The password is kept out of `repr`."""

    user: str
    password: str = field(repr=False)


def read_credentials(options: CredentialOptions, environ: Mapping[str, str], where: str) -> Credentials:
    """The credentials for `where` (a host, for messages). Raises Unavailable (`not_configured`) where there are none, and BadInput."""
    section = f"meter.{options.name}"
    user = options.user or environ.get(options.user_env, "")
    if options.password_file:
        password = _first_line(Path(options.password_file).expanduser(), section)
    else:
        password = environ.get(options.password_env, "")
    if not user or not password:
        missing = " and ".join(name for name, value in (("a user", user), ("a password", password)) if not value)
        raise Unavailable(
            f"{where} wants {missing}",
            reason=Reason.NOT_CONFIGURED,
            fix=f"export {options.user_env}=USER; read -rs {options.password_env}; export {options.password_env}"
            f"   (or the password in a file: {section}.password_file=PATH)",
        )
    if any(character in user + password for character in "\0\r\n"):
        raise BadInput("user and password hold no line ends", f"Check {options.user_env} and {options.password_env}.")
    return Credentials(user, password)


def _first_line(path: Path, section: str) -> str:
    try:
        return path.read_text().split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{section}.password_file={path} cannot be read: {error}", "The password is its first line.") from error
