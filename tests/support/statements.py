"""SQL compiled once for all databases of a process.

A server compiles each statement once, for the one database that it has. A test has databases of its own, and
SQLAlchemy compiles everything anew for each of them: a sixth of what the tests would compute.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, Engine, event


class Statements(dict[Any, Any]):
    """A cache of compiled statements whose key says nothing of which database of its kind they are for."""

    def get(self, key: Any, default: Any = None) -> Any:
        """Return what was compiled for ``key``, the dialect object of another engine or not."""
        return super().get(key[1:], default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__(key[1:], compiled)


_STATEMENTS: defaultdict[str, Statements] = defaultdict(Statements)
"""By the kind of database."""


@event.listens_for(Engine, "engine_connect")
def _share(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_STATEMENTS[connection.dialect.name])
