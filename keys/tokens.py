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
from array import array
from binascii import crc_hqx
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from keys.errors import MalformedError, UnknownKeyVersionError
from keys.secret import KEY_LENGTH, SecretBytes

NONCE_LENGTH = 8
BLOCK_LENGTH = 16
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
_START_LENGTH = 4
_PREFIX = re.compile(r"[a-z]{3}").fullmatch


class TokenKind(IntEnum):
    """Codes of token.md 2.2. EXPIRING and SAME_FORMAT are reserved: no text has them yet."""

    RANDOM = 0
    EXPIRING = 1
    ONE_TIME = 2
    AUDIENCE = 3
    SAME_FORMAT = 4
    SUBJECT = 15


IMPLEMENTED_KINDS = frozenset({TokenKind.RANDOM, TokenKind.ONE_TIME, TokenKind.AUDIENCE, TokenKind.SUBJECT})


class DecodedToken(NamedTuple):
    """What a text says. A claim until compared with its row (token.md 2.7)."""

    prefix: str
    kind: TokenKind
    key_version: int
    row_id: int
    nonce: bytes


class TokenBatch(NamedTuple):
    """What a batch of good texts of one kind and key version says, by column. Claims, as above."""

    starts: list[str]
    """Prefix and underscore of each."""
    kind: TokenKind
    key_version: int
    row_ids: list[int]
    nonces: bytes
    """Of all, joined."""

    def each(self) -> Iterator[DecodedToken]:
        """Yield them one by one."""
        nonces = (self.nonces[at : at + NONCE_LENGTH] for at in range(0, len(self.nonces), NONCE_LENGTH))
        for start, row_id, nonce in zip(self.starts, self.row_ids, nonces, strict=True):
            yield DecodedToken(start[:-1], self.kind, self.key_version, row_id, nonce)


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
        return self.encode_many((prefix,), (row_id,), (nonce,), kind)[0]

    def encode_many(
        self,
        prefixes: Sequence[str],
        row_ids: Sequence[int],
        nonces: Sequence[bytes],
        kind: TokenKind = TokenKind.RANDOM,
    ) -> list[str]:
        """Return the texts of rows, given by column, in their order, with one cipher call. HOT.

        Raises what ``encode`` raises if any row is refused, ValueError when the
        columns are not of one length; nothing is encoded then.
        """
        if not len(prefixes) == len(row_ids) == len(nonces):
            raise ValueError("the columns are not of one length")
        head = self._heads.get(kind)
        if head is None:
            raise MalformedError("kind")
        starts = {prefix: _start(prefix, head) for prefix in set(prefixes)}
        sealed = self.blocks.encrypt(_blocks_of(row_ids, nonces))
        digits = sealed.hex()
        texts = []
        at = 0
        for prefix in prefixes:
            text, crc = starts[prefix]
            end = at + BLOCK_LENGTH
            check = crc_hqx(sealed[at:end], crc)
            texts.append(f"{text}{digits[2 * at : 2 * end]}{check:04x}")
            at = end
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
        """Return, for each text, what it says or why it is refused; one cipher call per key version."""
        batch = self.decode_batch(texts)
        return self.decode_each(texts) if batch is None else list(batch.each())

    def decode_batch(self, texts: Sequence[str]) -> TokenBatch | None:
        """Return what ``texts`` say if all are good and of one kind and key version; else None. HOT.

        Nearly every batch is like that, and read in one piece it takes a third of
        the time. Whatever is found amiss is left to ``decode_each`` to name.
        """
        raw, starts = _in_one_piece(texts)
        reading = self._readable.get(raw[:2])
        if reading is None:
            return None
        key, kind, of_subjects = reading
        crcs = {}
        for start in set(starts):
            if not _START(start) or (start == _SUBJECT_START) is not of_subjects:
                return None
            crcs[start] = crc_hqx(start.encode(), _CRC_START)
        records = [raw[at : at + _RAW_LENGTH] for at in range(0, len(raw), _RAW_LENGTH)]
        # Over a text and its own check bytes this CRC is zero.
        if any(map(crc_hqx, records, map(crcs.__getitem__, starts))):
            return None
        plain = key.blocks.decrypt(_blocks_in(raw))
        row_ids = list(struct.unpack(f">{2 * len(texts)}Q", plain)[::2])
        nonces = array("Q", plain)[1::2].tobytes()
        if min(row_ids) < 1 or max(row_ids) > MAX_ROW_ID:
            return None
        return TokenBatch(starts, kind, key.version, row_ids, nonces)

    def decode_each(self, texts: Iterable[str]) -> list[DecodedToken | MalformedError]:
        """Return what ``decode_many`` does, text by text."""
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


def _in_one_piece(texts: Sequence[str]) -> tuple[bytes, list[str]]:
    """Return what follows the prefixes of ``texts``, joined, and the prefixes with their underscores.

    No bytes unless every text has its length and all begin with one head.
    """
    count = len(texts)
    if count < WORTH_ONE_PIECE or set(map(len, texts)) != {TEXT_LENGTH}:
        return b"", []
    joined, start = "".join(texts), texts[0][:_START_LENGTH]
    # Nearly always all begin alike: four columns to compare, and one pass to take them out.
    if all(joined[at::TEXT_LENGTH] == letter * count for at, letter in enumerate(start)):
        starts = [start] * count
        digits = joined.replace(start, "")
    else:
        starts = [text[:_START_LENGTH] for text in texts]
        digits = "".join([text[_START_LENGTH:] for text in texts])
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        return b"", []
    # Upper case and white space do not survive the round trip.
    if len(raw) != _RAW_LENGTH * count or raw.hex() != digits:
        return b"", []
    uniform = all(raw[at::_RAW_LENGTH] == raw[at : at + 1] * count for at in (0, 1))
    return (raw, starts) if uniform else (b"", [])


def _blocks_in(raw: bytes) -> bytes:
    """Return the blocks of joined texts, without the two bytes before and after each of them."""
    blocks = bytearray(raw)
    # A column at a time, from the right: a slice and a join of each would take twice as long.
    for at, width in ((19, 20), (18, 19), (1, 18), (0, 17)):
        del blocks[at::width]
    return bytes(blocks)


def _head(kind: TokenKind, version: int) -> bytes:
    return (kind << 12 | version).to_bytes(2, "big")


def _start(prefix: str, head: bytes) -> tuple[str, int]:
    """Return what stands before the block, as text and as CRC so far."""
    if not _PREFIX(prefix):
        raise MalformedError("shape")
    if (prefix == SUBJECT_PREFIX) is not (head[0] >> 4 == TokenKind.SUBJECT):
        raise MalformedError("prefix")
    return f"{prefix}_{head.hex()}", crc_hqx(prefix.encode() + b"_" + head, _CRC_START)


def _blocks_of(row_ids: Sequence[int], nonces: Sequence[bytes]) -> bytes:
    """Return the cipher input: one block of 16 bytes for each row."""
    if row_ids and not 0 < min(row_ids) <= max(row_ids) <= MAX_ROW_ID:
        raise MalformedError("row_id")
    if not set(map(len, nonces)) <= {NONCE_LENGTH}:
        raise MalformedError("nonce_length")
    return b"".join(map(_BLOCK.pack, row_ids, nonces))


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
