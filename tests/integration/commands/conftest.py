"""The API over the ledger domain, on a fresh event store for each test."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import httpx
import pytest

from headrace.commands.dispatch import Dispatcher
from headrace.commands.domain import Domain
from headrace.event_store.event_store import EventStore
from headrace.http.app import create_app
from headrace.http.commands import command_routes
from headrace.http.streams import stream_routes


@pytest.fixture(scope="session")
def ledger() -> ModuleType:
    """The domain in ledger.py, loaded from its file as a project's domain.py is."""
    spec = util.spec_from_file_location("ledger", Path(__file__).with_name("ledger.py"))
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules["ledger"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def domain(ledger: ModuleType) -> Domain:
    return Domain.from_module(ledger)


@pytest.fixture
async def api(store: EventStore, domain: Domain) -> AsyncIterator[httpx.AsyncClient]:
    routes = [*command_routes(Dispatcher(store=store, domain=domain), domain), *stream_routes(store, domain)]
    app = create_app(title="ledger", version="1", routes=routes, body_bytes_max=64 << 10)
    transport = httpx.ASGITransport(app=cast(Any, app))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client
