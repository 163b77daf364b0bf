from __future__ import annotations

import itertools

import pytest

from keys.errors import IllegalTransitionError
from keys.states import KeyState, require_transition

PRE, ACTIVE, SUSPENDED, DEACTIVATED, COMPROMISED, DESTROYED = KeyState
LEGAL = {
    (PRE, ACTIVE),
    (PRE, COMPROMISED),
    (PRE, DESTROYED),
    (ACTIVE, SUSPENDED),
    (ACTIVE, DEACTIVATED),
    (ACTIVE, COMPROMISED),
    (SUSPENDED, ACTIVE),
    (SUSPENDED, DEACTIVATED),
    (SUSPENDED, COMPROMISED),
    (DEACTIVATED, SUSPENDED),
    (DEACTIVATED, COMPROMISED),
    (DEACTIVATED, DESTROYED),
    (COMPROMISED, DESTROYED),
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(KeyState, KeyState)))
def test_only_the_moves_of_the_document_are_legal(old: KeyState, new: KeyState) -> None:
    if (old, new) in LEGAL:
        require_transition(old, new)
        return
    with pytest.raises(IllegalTransitionError) as caught:
        require_transition(old, new)
    assert (caught.value.old, caught.value.new) == (old.value, new.value)
