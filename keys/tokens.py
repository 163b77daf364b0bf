"""Token and subject-id texts (docs/formats/token.md 2).

What is guaranteed: one text for one row, kind and key version; a mistyped text
is refused without a query. What is not: a decoded token is a claim. Whoever
uses it compares the nonce (in constant time), the prefix and the kind with the
row of that id (token.md 2.7).

Every method may be called from several threads: the kept cipher contexts are
guarded by a lock, which costs a tenth of what a context per call does.
"""

from __future__ import annotations

import re
import struct
import threading
from binascii import crc_hqx
from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import partial
from itertools import repeat
from typing import NamedTuple, TypeAlias

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from keys.errors import MalformedError, UnknownKeyVersionError
from keys.secret import KEY_LENGTH, SecretBytes

NONCE_LENGTH = 8
MAX_ROW_ID = (1 << 63) - 1
MAX_TOKEN_KEY_VERSION = 0xFFF
SUBJECT_PREFIX = "sub"
TEXT_LENGTH = 44

WORTH_ONE_PIECE = 4
"""Fewer texts are read one by one: that is quicker."""

_CRC_START = 0xFFFF
_BLOCK = struct.Struct(">Q8s")
_TEXT = re.compile(r"([a-z]{3})_([0-9a-f]{40})").fullmatch
_START = re.compile(r"[a-z]{3}_").fullmatch
_SUBJECT_START = f"{SUBJECT_PREFIX}_"
_RAW_LENGTH = 20
_PREFIX = re.compile(r"[a-z]{3}").fullmatch


class TokenKind(IntEnum):
    """Codes of token.md 2.2. Only RANDOM and SUBJECT are implemented; the others are reserved."""

    RANDOM = 0
    EXPIRING = 1
    ONE_TIME = 2
    AUDIENCE = 3
    SAME_FORMAT = 4
    SUBJECT = 15


IMPLEMENTED_KINDS = frozenset({TokenKind.RANDOM, TokenKind.SUBJECT})


class DecodedToken(NamedTuple):
    """What a text says. A claim until compared with its row (token.md 2.7).

    A named tuple, since a batch makes a thousand: a frozen dataclass costs six times as much.
    """

    prefix: str
    kind: TokenKind
    key_version: int
    row_id: int
    nonce: bytes


_MAKE = partial(tuple.__new__, DecodedToken)
"""What ``DecodedToken._make`` does, without a call into Python."""

_Admitted: TypeAlias = tuple[int, str, TokenKind, bytes]
"""Place in the batch, prefix, kind and block."""


class Blocks:
    """AES-256 over whole blocks of 16 bytes, in both directions."""

    __slots__ = ("_decrypt", "_encrypt", "_lock")

    def __init__(self, key: SecretBytes) -> None:
        if len(key.expose()) != KEY_LENGTH:
            raise MalformedError("key_length")
        # ECB is a loop over the permutation of token.md 2.6; every block here holds another row id.
        cipher = Cipher(algorithms.AES(key.expose()), modes.ECB())  # noqa: S305 (see the line above)
        # Contexts take whole blocks only, so they hold no state between calls and are never finalised.
        self._encrypt = cipher.encryptor()
        self._decrypt = cipher.decryptor()
        self._lock = threading.Lock()

    def encrypt(self, blocks: bytes) -> bytes:
        """Return each block under the permutation. ``blocks`` is a multiple of 16 bytes."""
        with self._lock:
            return self._encrypt.update(blocks)

    def decrypt(self, blocks: bytes) -> bytes:
        """Return each block under the inverse. ``blocks`` is a multiple of 16 bytes."""
        with self._lock:
            return self._decrypt.update(blocks)


class TokenKey:
    """One version of the token key: writes texts."""

    __slots__ = ("_heads", "blocks", "version")

    def __init__(self, version: int, key: SecretBytes) -> None:
        if not 1 <= version <= MAX_TOKEN_KEY_VERSION:
            raise MalformedError("key_version")
        self.version = version
        self.blocks = Blocks(key)
        self._heads = {kind: _head(kind, version) for kind in IMPLEMENTED_KINDS}

    def encode(self, prefix: str, row_id: int, nonce: bytes, kind: TokenKind = TokenKind.RANDOM) -> str:
        """Return the text of one row.

        Raises MalformedError: kind, shape, prefix, row_id, nonce_length (token.md 2.3).
        """
        return self.encode_many(((prefix, row_id, nonce),), kind)[0]

    def encode_many(
        self, rows: Sequence[tuple[str, int, bytes]], kind: TokenKind = TokenKind.RANDOM
    ) -> list[str]:
        """Return the texts of ``rows`` (prefix, row id, nonce), in their order, with one cipher call.

        Raises what ``encode`` raises if any row is refused; nothing is encoded then.
        """
        head = self._heads.get(kind)
        if head is None:
            raise MalformedError("kind")
        starts = {prefix: _start(prefix, head) for prefix in {row[0] for row in rows}}
        sealed = self.blocks.encrypt(_blocks_of(rows))
        digits = sealed.hex()
        texts = []
        for at, (prefix, _, _) in enumerate(rows):
            text, crc = starts[prefix]
            check = crc_hqx(sealed[16 * at : 16 * at + 16], crc)
            texts.append(f"{text}{digits[32 * at : 32 * at + 32]}{check:04x}")
        return texts


class TokenKeys:
    """Every readable version of the token key: writes under the active one, reads under each."""

    __slots__ = ("_active", "_readable")

    def __init__(self, active: TokenKey | None, readable: Iterable[TokenKey]) -> None:
        self._active = active
        self._readable = {
            _head(kind, key.version): (key, kind, kind is TokenKind.SUBJECT)
            for key in readable
            for kind in IMPLEMENTED_KINDS
        }

    @property
    def active(self) -> TokenKey:
        """The version that writes. Raises UnknownKeyVersionError when none is active."""
        if self._active is None:
            raise UnknownKeyVersionError("token//active")
        return self._active

    def decode(self, text: str) -> DecodedToken:
        """Return what ``text`` says.

        Raises MalformedError, in the order of token.md 2.5: shape, check, kind,
        prefix, key_version, check.
        """
        refused: dict[int, MalformedError] = {}
        for key, admitted in self._admit((text,), refused).items():
            _, prefix, kind, block = admitted[0]
            row_id, nonce = _BLOCK.unpack(key.blocks.decrypt(block))
            if 0 < row_id <= MAX_ROW_ID:
                return DecodedToken(prefix, kind, key.version, row_id, nonce)
            refused[0] = MalformedError("check")
        raise refused[0]

    def decode_many(self, texts: Sequence[str]) -> list[DecodedToken | MalformedError]:
        """Return, for each text, what it says or why it is refused; one cipher call per key version. HOT."""
        return self._decode_uniform(texts) or self._decode_each(texts)

    def _decode_uniform(self, texts: Sequence[str]) -> list[DecodedToken | MalformedError] | None:
        """Return what ``texts`` say if all are good and of one kind and key version; else None.

        Nearly every batch is like that, and read in one piece it takes half the
        time. Whatever is found amiss is left to ``_decode_each`` to name.
        """
        raw = _in_one_piece(texts)
        reading = self._readable.get(raw[:2])
        starts = [text[:4] for text in texts]
        if reading is None:
            return None
        key, kind, of_subjects = reading
        if not all(_START(start) and (start == _SUBJECT_START) is of_subjects for start in set(starts)):
            return None
        crcs = {start: crc_hqx(start.encode(), _CRC_START) for start in set(starts)}
        places = range(0, len(raw), _RAW_LENGTH)
        # Over a text and its own check bytes this CRC is zero.
        checks = map(crc_hqx, [raw[at : at + _RAW_LENGTH] for at in places], map(crcs.__getitem__, starts))
        if any(checks):
            return None
        plain = key.blocks.decrypt(b"".join([raw[at + 2 : at + 18] for at in places]))
        rows = list(_BLOCK.iter_unpack(plain))
        if min(rows)[0] < 1 or max(rows)[0] > MAX_ROW_ID:
            return None
        prefixes = {start: start[:3] for start in crcs}
        ids, nonces = zip(*rows, strict=True)
        columns = map(prefixes.__getitem__, starts), repeat(kind), repeat(key.version), ids, nonces
        return list(map(_MAKE, zip(*columns, strict=False)))

    def _decode_each(self, texts: Iterable[str]) -> list[DecodedToken | MalformedError]:
        results: dict[int, DecodedToken | MalformedError] = {}
        refused: dict[int, MalformedError] = {}
        for key, admitted in self._admit(texts, refused).items():
            version = key.version
            plain = key.blocks.decrypt(b"".join([block for _, _, _, block in admitted]))
            rows = zip(admitted, _BLOCK.iter_unpack(plain), strict=True)
            for (at, prefix, kind, _), (row_id, nonce) in rows:
                if 0 < row_id <= MAX_ROW_ID:
                    results[at] = DecodedToken(prefix, kind, version, row_id, nonce)
                else:
                    results[at] = MalformedError("check")
        results.update(refused)
        return [results[at] for at in range(len(results))]

    def _admit(
        self, texts: Iterable[str], refused: dict[int, MalformedError]
    ) -> dict[TokenKey, list[_Admitted]]:
        """Return the texts that hold but for their block, by key; put the refusals into ``refused``."""
        by_key: dict[TokenKey, list[_Admitted]] = {}
        readable = self._readable
        for at, text in enumerate(texts):
            match = _TEXT(text)
            if match is None:
                refused[at] = MalformedError("shape")
                continue
            prefix, digits = match.groups()
            raw = bytes.fromhex(digits)
            # Over a text and its own check bytes this CRC is zero.
            if crc_hqx(text[:4].encode() + raw, _CRC_START):
                refused[at] = MalformedError("check")
                continue
            reading = readable.get(raw[:2])
            if reading is None or (prefix == SUBJECT_PREFIX) is not reading[2]:
                refused[at] = MalformedError(_why_refused(prefix, raw[0] >> 4))
                continue
            key, kind, _ = reading
            if key not in by_key:
                by_key[key] = []
            by_key[key].append((at, prefix, kind, raw[2:18]))
        return by_key


def _in_one_piece(texts: Sequence[str]) -> bytes:
    """Return what follows the prefixes of all ``texts``, joined; nothing unless they begin with one head."""
    count = len(texts)
    if count < WORTH_ONE_PIECE or set(map(len, texts)) != {TEXT_LENGTH}:
        return b""
    digits = "".join([text[4:] for text in texts])
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        return b""
    # Upper case and white space do not survive the round trip.
    uniform = raw.hex() == digits and all(raw[at::_RAW_LENGTH] == raw[at : at + 1] * count for at in (0, 1))
    return raw if uniform else b""


def _head(kind: TokenKind, version: int) -> bytes:
    return (kind << 12 | version).to_bytes(2, "big")


def _start(prefix: str, head: bytes) -> tuple[str, int]:
    """Return what stands before the block, as text and as CRC so far."""
    if not _PREFIX(prefix):
        raise MalformedError("shape")
    if (prefix == SUBJECT_PREFIX) is not (head[0] >> 4 == TokenKind.SUBJECT):
        raise MalformedError("prefix")
    return f"{prefix}_{head.hex()}", crc_hqx(prefix.encode() + b"_" + head, _CRC_START)


def _blocks_of(rows: Sequence[tuple[str, int, bytes]]) -> bytes:
    """Return the cipher input: one block of 16 bytes for each row."""
    blocks = []
    for _, row_id, nonce in rows:
        if not 0 < row_id <= MAX_ROW_ID:
            raise MalformedError("row_id")
        if len(nonce) != NONCE_LENGTH:
            raise MalformedError("nonce_length")
        blocks.append(_BLOCK.pack(row_id, nonce))
    return b"".join(blocks)


def _why_refused(prefix: str, kind: int) -> str:
    """Return the first of the rules kind, prefix, key_version that a text breaks."""
    if kind not in IMPLEMENTED_KINDS:
        return "kind"
    if (prefix == SUBJECT_PREFIX) is not (kind == TokenKind.SUBJECT):
        return "prefix"
    return "key_version"


def misspelt(text: str) -> str:
    """Return the rule that anybody can see broken in ``text``, ``shape`` or ``check``; empty when none is.

    Takes no key, so saying which tells nothing (token.md 2.5).
    """
    match = _TEXT(text)
    if match is None:
        return "shape"
    return "check" if crc_hqx(text[:4].encode() + bytes.fromhex(match[2]), _CRC_START) else ""
