"""Where a server is: the parts of its address."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from tpb_core.api import BadInput

_EXAMPLE = "Type for example http://localhost:8000"


@dataclass(frozen=True)
class Address:
    """Scheme, host, port and the path in front of everything (`/openai`, or nothing)."""

    secure: bool
    host: str
    port: int
    prefix: str = ""

    @classmethod
    def parse(cls, url: str, option: str, *, endings: tuple[str, ...] = ("/v1",)) -> Address:
        """From what a user types; `localhost:8000` is http. Paths in `endings` are taken off. Raises BadInput naming `option`."""
        text = url.strip()
        if "://" not in text:
            text = f"http://{text}"
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise BadInput(f"{option}={url}: {error}", _EXAMPLE) from error
        if parts.scheme not in ("http", "https"):
            raise BadInput(f"{option}={url}: {parts.scheme}:// is not spoken here, only http and https", _EXAMPLE)
        if parts.username is not None:
            raise BadInput(
                f"{option}: a user name or password in an address would be stored with the results",
                "Leave it out, and put an API key into the environment (engine.api_key_env=NAME).",
            )
        host = parts.hostname or ""
        if not host or any(character <= " " or character == "\x7f" for character in parts.netloc + parts.path):
            raise BadInput(f"{option}={url}: there is no host in it", _EXAMPLE)
        path = parts.path.rstrip("/")
        for ending in endings:
            path = path.removesuffix(ending).rstrip("/")
        secure = parts.scheme == "https"
        return cls(secure, host, port or (443 if secure else 80), path)

    @property
    def host_header(self) -> str:
        """As in the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.host_header}{self.prefix}"
