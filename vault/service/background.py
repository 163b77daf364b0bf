"""The thread that does background work on one node: one portion after the other, as fast as others allow."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Final

from vault.domain.errors import SealedError, VaultError
from vault.domain.faults import describe
from vault.rotation.jobs import Worker
from vault.storage.errors import RolledBackError, StaleRevisionError

LOGGER: Final = logging.getLogger("piivault")

NOTHING_S: Final = 1.0
"""Rest when there is nothing to do, or nothing that can be done now."""

AGAIN_S: Final = 0.02
"""Rest when others were faster."""


class Background:
    """A thread that works until it is stopped."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="background", daemon=True)
        self._said = ""
        self.trouble = ""
        """Code of what keeps this node's background work, or one job of it, from going on; else empty."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the portion under way and let other nodes go on. Without a start there is nothing to end."""
        self._stop.set()
        if self._thread.ident is None:
            return
        self._thread.join()
        with suppress(VaultError):
            # The lease runs out by itself too.
            self._worker.release()

    def _loop(self) -> None:
        rest = 0.0
        while not self._stop.wait(rest):
            rest = self._turn()

    def _turn(self) -> float:
        trouble = ""
        try:
            rest = self._worker.portion()
        except (StaleRevisionError, RolledBackError):
            return AGAIN_S
        except SealedError:
            # It is no trouble, and said elsewhere.
            rest = None
        except VaultError as error:
            rest, trouble = None, error.code
        except Exception as error:  # noqa: BLE001 -- a fault of ours must not end the work in silence
            LOGGER.error("background work failed: %s", describe(error))  # noqa: TRY400 -- a traceback quotes values
            rest, trouble = None, VaultError.code
        self._say(trouble)
        return NOTHING_S if rest is None else rest

    def _say(self, trouble: str) -> None:
        """Take in what went wrong just now; tell the operator, once until it changes."""
        stuck = self._worker.stuck
        self.trouble = next(iter(stuck.values()), trouble)
        text = ", ".join(f"{job_id} ({code})" for job_id, code in sorted(stuck.items())) or trouble
        if text != self._said:
            self._said = text
            if text:
                LOGGER.warning("background work does not go on: %s", text)
            else:
                LOGGER.warning("background work goes on")
