"""The only wiring: from a folder on a host to an open vault."""

from vault.access.staff import Person
from vault.assembly.founding import Initialised, initialise
from vault.assembly.opening import migrate, open_or_wait, open_vault
from vault.assembly.retiring import Retirement, end_copies, look
from vault.assembly.rootkeys import change_root_key, drill_recovery
from vault.assembly.sealing import look_at_sealed, unseal_on_host
from vault.assembly.wrapping import Ask, New, Patient, Sealing, by_reading, kinds, nobody
from vault.policy.policy import Policy
from vault.settings import Settings

__all__ = [
    "Ask",
    "Initialised",
    "New",
    "Patient",
    "Person",
    "Policy",
    "Retirement",
    "Sealing",
    "Settings",
    "by_reading",
    "change_root_key",
    "drill_recovery",
    "end_copies",
    "initialise",
    "kinds",
    "look",
    "look_at_sealed",
    "migrate",
    "nobody",
    "open_or_wait",
    "open_vault",
    "unseal_on_host",
]
