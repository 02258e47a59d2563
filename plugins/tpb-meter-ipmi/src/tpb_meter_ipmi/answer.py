"""What `ipmitool ... shell` prints after a `raw` request: bytes in hexadecimal, a completion code, or words. Pure text."""

from __future__ import annotations

import re

from tpb_meter_ipmi.link import CompletionError, LinkError

PROMPT = b"ipmitool> "
_HEX_LINE = re.compile(r"(?: ?[0-9a-fA-F]{2})+ *")
_REFUSED = re.compile(r"Unable to send RAW command.*rsp=0x([0-9a-fA-F]{1,2})\b")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[@-_]")
_LONGEST = 4096
"""An answer has 255 bytes at most; a longer text is noise."""


def parse_answer(text: str) -> bytes:
    """Data of an answer. Raises CompletionError where the controller refused, LinkError where it did not answer or the text is no answer.

    `text` is everything from the request to the next prompt: the echo of the request, and stderr between the lines. Lines of words beside
    the bytes (warnings) are passed over; bytes beside a refusal are not trusted.
    """
    if len(text) > _LONGEST:
        raise LinkError(f"ipmitool printed {len(text)} characters instead of an answer")
    found, words = bytearray(), []
    for line in _ESCAPES.sub("", text).replace("\r", "\n").split("\n"):
        if not line.strip() or line.lstrip().startswith(("raw ", "ipmitool>")):
            continue
        if _HEX_LINE.fullmatch(line) and line.isascii():
            found += bytes.fromhex(line)
        else:
            words.append(line.strip())
    refusal = next((match for line in words if (match := _REFUSED.search(line))), None)
    if refusal is not None and 0 < (code := int(refusal[1], 16)) < 0x100:
        raise CompletionError(code)
    if not found or any("Unable to send" in line or "Error" in line for line in words):
        raise LinkError(f"ipmitool: {words[0][:160]}" if words else "ipmitool: no answer from the controller")
    if len(found) > 255:
        raise LinkError(f"ipmitool printed {len(found)} bytes for one answer")
    return bytes(found)
