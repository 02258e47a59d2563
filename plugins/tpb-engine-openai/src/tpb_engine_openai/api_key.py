"""The API key: from the environment, into the header of each request, and nowhere else."""

from __future__ import annotations

import os

from tpb_core.api import BadInput
from tpb_engine_openai.address import Address


def key_headers(variable: str | None, address: Address, option: str) -> dict[str, str]:
    """The headers that carry the key. No key goes to a server for which none was named. Raises BadInput, never showing the key."""
    if variable is None:
        if address.host != "api.openai.com":
            return {}
        variable = "OPENAI_API_KEY"
    key = os.environ.get(variable, "").strip()
    if not key:
        raise BadInput(f"{option}={variable}: this environment variable is not set", f"Type:  export {variable}=YOUR_KEY")
    if not key.isascii() or any(character <= " " or character == "\x7f" for character in key):
        raise BadInput(f"{option}={variable}: its value is no API key (it holds blanks or characters beyond ASCII)", "Set it again.")
    return {"Authorization": f"Bearer {key}"}
