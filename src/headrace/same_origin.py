"""Whether a request comes from a page that we did not serve.

A server on this machine is within reach of every web page that its user has open: a page may post to 127.0.0.1, and by
giving its own host name our address (DNS rebinding) it may read the answers, too. Browsers say where a request comes
from; clients that are no browsers send none of these headers and are not affected.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def foreign(headers: Mapping[str, str], *, listening_on: str) -> str:
    """Why it is refused, or an empty string. `headers` have lower-case names; `listening_on` is our address."""
    host = headers.get("host", "")
    name = urlsplit(f"//{host}").hostname or ""
    if listening_on in _LOOPBACK and name not in _LOOPBACK:
        return f"it is addressed to {host[:80]!r}, and this server is for this machine alone"
    origin = headers.get("origin", "")
    if origin and urlsplit(origin).netloc != host:
        return f"it comes from a page of {origin[:80]!r}"
    return ""
