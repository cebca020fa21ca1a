"""A project folder, read: the domain, the reactors, the read models' statements, the queries and the dashboards."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from headrace.commands.domain import Domain
from headrace.dashboards.definition import Dashboards
from headrace.errors import Error, InvalidConfiguration
from headrace.queries.catalog import Catalog
from headrace.settings import Settings
from headrace.streaming_sql.parser import parse
from headrace.subscriptions.reactor import Reactor, find_reactors


@dataclass(frozen=True, slots=True)
class Statement:
    """The text of one file of streaming SQL, and where it stands."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Project:
    """What a user wrote, checked as far as can be without a database."""

    settings: Settings
    domain: Domain
    reactors: list[Reactor]
    statements: list[Statement]
    catalog: Catalog
    dashboards: Dashboards

    @property
    def roles(self) -> list[str]:
        """The verbs that run it."""
        return ["worker", "serve", *(["reactor"] if self.reactors else [])]

    @classmethod
    def load(cls, settings: Settings) -> Project:
        """Read the folder. Raises InvalidConfiguration or InvalidSQL naming the file that is wrong."""
        modules = [load_domain(settings.root)]
        domain = Domain.from_module(modules[0])
        if (settings.root / "reactors.py").exists():
            modules.append(load_module(settings.root / "reactors.py"))
        catalog = Catalog.load(settings.root / "queries")
        return cls(
            settings=settings,
            domain=domain,
            reactors=find_reactors(modules, domain.events),
            statements=[_read_statement(path) for path in sorted((settings.root / "streams").glob("*.sql"))],
            catalog=catalog,
            dashboards=Dashboards.load(settings.root / "dashboards", catalog),
        )


def _read_statement(path: Path) -> Statement:
    text = path.read_text()
    parse(text, str(path))  # what is misspelt is said before anything is started
    return Statement(path, text)


def load_domain(root: Path) -> ModuleType:
    """The project's `domain.py`, or an empty module: a project that only mirrors tables has nothing to command."""
    path = root / "domain.py"
    return load_module(path) if path.exists() else ModuleType(path.stem)


def load_module(path: Path) -> ModuleType:
    """Import one of the project's own files under its plain name, so that its neighbours can import it too."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.exists() or spec is None or spec.loader is None:
        raise InvalidConfiguration(
            f"The project has no {path.name}.", f"Looked for {path}.", "`headrace init` makes one."
        )
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Error:
        raise
    except Exception as error:  # the project's own code may raise anything while it is imported
        raise InvalidConfiguration(f"{path} cannot be imported: {type(error).__name__}: {error}.") from error
    return module
