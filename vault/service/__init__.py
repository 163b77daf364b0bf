"""The façade: what can be asked of the vault, one method per action, split by noun.

Everything above (HTTP, console, commands) calls this and nothing below it, so
no interface has a power of its own.
"""

from vault.access.changes import Made
from vault.access.entries import Request

__all__ = ["Made", "Request"]
