"""Sealed at an index of the log: from there on nothing is given out, on any node, and no key is left."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterable, Iterator
from threading import Thread
from types import FrameType, FunctionType, ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keys.datakeys import WrappingKey
from keys.envelope import DataKey
from keys.keyring import Keyring
from keys.rootkey import RootKey
from keys.secret import SecretBytes
from keys.wrappers.sealing import SealingKey
from tests.conformance.counter import WAIT, Counter, phone
from tests.conformance.test_revocation_race import READERS, REFUSALS, WARM, reading
from vault.access.standing import Standing, Why
from vault.assembly import change_root_key, open_or_wait, open_vault, unseal_on_host
from vault.assembly.wrapping import Sealing
from vault.domain.errors import ConflictError, SealedError
from vault.service.vault import Vault

ROUNDS = 4
KEYS = (AESGCM, DataKey, Keyring, RootKey, SealingKey, SecretBytes, Standing, WrappingKey)


def seal(counter: Counter, at: Vault) -> int:
    """Seal as the administrator; return the index of the entry."""
    made = at.seal(counter.furnished.request(counter.actor("admin")))
    return made.receipt.index


def unseal(counter: Counter) -> int:
    """Unseal on the host; return the index of the entry."""
    return unseal_on_host(counter.furnished.settings, clock=counter.furnished.clock).log_index


def reachable(roots: Iterable[object]) -> Iterator[object]:
    """Yield what can be reached from ``roots``, not by way of modules and classes."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, ModuleType | type):
            continue
        seen.add(id(found))
        yield found
        if isinstance(found, FunctionType):
            waiting += [*(found.__closure__ or ()), *(found.__defaults__ or ())]
        else:
            waiting += gc.get_referents(found)


def keys_of(vault: Vault) -> list[str]:
    """Return the kinds of key material that an object or a running frame of the vault still leads to."""
    lane: Thread = vault.tokens._lane._thread
    frame: FrameType | None = sys._current_frames()[lane.ident or 0]
    frames: list[Any] = []
    while frame is not None:
        frames += frame.f_locals.values()
        frame = frame.f_back
    return sorted({type(found).__name__ for found in reachable([vault, *frames]) if isinstance(found, KEYS)})


def wait_for_the_lane(counter: Counter, vault: Vault) -> None:
    """Return when the lane has done everything it was handed before."""
    with pytest.raises(SealedError):
        counter.show("none") if vault is counter.vault else vault.tokens.complete(counter.showing("none"))


def test_nothing_is_released_after_the_index_of_the_seal(counter: Counter) -> None:
    nodes = [counter.vault, counter.node()]
    actor, token = counter.shop, counter.token()
    released = 0
    for number in range(ROUNDS):
        start = counter.next_index()
        with reading(counter, nodes, actor, token) as outcomes:
            index = seal(counter, nodes[number % 2])
        log = counter.log(start)
        assert (log[-1].index, log[-1].entry.action) == (index, "vault:seal")
        assert max(outcomes.released) < index
        opened = [logged.index for logged in log if logged.entry.items and "opened" in logged.outcomes]
        assert sorted(outcomes.released) == opened
        assert outcomes.refused == ["sealed"] * REFUSALS * READERS * len(nodes)
        released += len(outcomes.released)
        assert unseal(counter) == index + 1
        for vault in nodes:
            vault.upkeep.round()
            vault.upkeep.round()
            assert not vault.is_sealed
    assert released >= ROUNDS * WARM
    counter.verify_log()


def test_log_is_integrated_up_to_the_seal_and_the_keys_are_gone_everywhere(counter: Counter) -> None:
    nodes = [counter.vault, counter.node()]
    token = counter.token()
    for vault in nodes:
        counter.detokenize(token, at=vault)
        assert "Standing" in keys_of(vault)
        assert "DataKey" in keys_of(vault)
    index = seal(counter, nodes[0])
    for vault in nodes:
        vault.upkeep.round()
        assert vault.upkeep.health.integrated == index + 1
        assert vault.upkeep.health.trouble == "sealed"
        wait_for_the_lane(counter, vault)
        vault.upkeep.round()
        gc.collect()
        assert keys_of(vault) == []
        assert vault.standings.sealed is not None


def test_a_node_that_has_not_noticed_yet_gives_nothing_out(counter: Counter) -> None:
    other = counter.node()
    token = counter.token()
    counter.detokenize(token, at=other)
    seal(counter, counter.vault)
    assert not other.is_sealed
    with pytest.raises(SealedError):
        counter.detokenize(token, at=other)
    with pytest.raises(SealedError):
        other.keys.list(counter.furnished.request(counter.actor("admin")))
    assert other.standings.sealed is not None
    with pytest.raises(SealedError):
        other.audit._changes.standings.current.keyring  # noqa: B018 - it is the asking that is refused


def test_background_work_stops_and_goes_on(counter: Counter) -> None:
    counter.tokenize(*(phone(f"010-2222-{number:04d}") for number in range(5)))
    admin = counter.furnished.request(counter.actor("admin"))
    counter.vault.keys.rotate(admin)
    total = counter.vault.keys.rewrap(admin).value.total
    assert total > 2
    counter.vault.worker.portion(size=2)
    seal(counter, counter.vault)
    with pytest.raises(SealedError):
        counter.vault.worker.portion(size=2)
    unseal(counter)
    counter.vault.upkeep.round()
    while counter.vault.worker.portion() is not None:
        pass
    (job,) = counter.vault.keys.jobs(admin).value
    assert (job.state, job.done) == ("done", total)


def test_a_second_seal_is_refused_as_sealed(counter: Counter) -> None:
    seal(counter, counter.vault)
    with pytest.raises(SealedError):
        seal(counter, counter.vault)


def test_a_sealed_vault_opens_for_a_person_alone(counter: Counter) -> None:
    index = seal(counter, counter.vault)
    for _ in range(3):
        counter.vault.upkeep.round()
    assert counter.vault.standings.sealed is not None
    assert counter.vault.standings.sealed.why is Why.SEALED
    settings, clock = counter.furnished.settings, counter.furnished.clock
    with pytest.raises(SealedError):
        open_vault(settings, clock=clock)
    with pytest.raises(SealedError):
        change_root_key(settings, Sealing(), clock=clock)
    started = open_or_wait(settings, clock=clock)
    started.upkeep.round()
    assert started.is_sealed
    unseal(counter)
    started.upkeep.round()
    counter.vault.upkeep.round()
    assert (started.is_sealed, counter.vault.is_sealed) == (False, False)
    started.close()
    said = counter.entry(index + 1)
    assert (said.action, said.actor.id, dict(said.target)["flag"]) == ("vault:unseal", "host", "cleared")
    with pytest.raises(ConflictError, match="not sealed"):
        unseal(counter)


def test_a_vault_that_is_closed_while_sealed_stays_sealed(counter: Counter) -> None:
    other = counter.node()
    seal(counter, counter.vault)
    other.start()
    other.upkeep.stop()
    assert other.is_sealed


def test_sealed_nodes_notice_by_themselves(counter: Counter) -> None:
    other = counter.node()
    other.start()
    token = counter.token()
    seal(counter, counter.vault)
    _eventually(lambda: other.is_sealed and "DataKey" not in keys_of(other))
    unseal(counter)
    _eventually(lambda: not other.is_sealed)
    assert counter.detokenize(token, at=other)["items"]


def _eventually(holds: Any) -> None:
    ends = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)
