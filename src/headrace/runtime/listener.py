"""The port that the API listens on, taken before anything else is started: a port in use is found out at once."""

from __future__ import annotations

import errno
import socket

from headrace.errors import AlreadyRunning
from headrace.settings import Settings


def take_port(settings: Settings) -> Settings:
    """The settings with the port that the API will have, any free one if they say 0. Raises AlreadyRunning."""
    with listen(settings.http.host, settings.http.port) as listener:
        http = settings.http.model_copy(update={"port": listener.getsockname()[1]})
    return settings.model_copy(update={"http": http})


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, taken before anything is started. Raises AlreadyRunning when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        raise AlreadyRunning(
            f"The address {host}:{port} {reason}.",
            hint="Stop what listens there, or set http.port (HEADRACE_HTTP__PORT=0 takes any free one).",
        ) from error
    return listener
