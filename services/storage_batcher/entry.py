"""What the key-value bucket says of a slice: the one record from which any process can go on.

The bounds of a batch stand here before it is inserted, and the next batch's bounds are only written when it is in. So
`writing` means: everything before `first` is in the table, the batch `first` to `last` may or may not be; `stored`
means: everything up to `last` is in.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from schemas.errors import Broken


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of one slice; `first` and `last` are MD sequences, `rows` counts the batch's messages.

    `owner` is new per process start. `stream` is when MD was made, in seconds since the epoch, and `rewinds` how often
    it was found shorter than this entry knew it: together they tell apart two messages that had the same sequence, in
    a stream that was made anew or lost its end with the machine's power. `suspects` are the sequences of the rows that
    are tried alone once the batch has been refused: fixed before the first part is stored, so that whoever repeats the
    batch cuts it the same way.
    """

    table: str
    slice: str
    owner: str
    stream: int
    state: Literal["writing", "stored"]
    first: int
    last: int
    rows: int = 0
    rewinds: int = 0
    suspects: tuple[int, ...] | None = None

    @property
    def position(self) -> int:
        """The MD sequence up to which everything is certainly in the table."""
        return self.last if self.state == "stored" else self.first - 1

    @property
    def token(self) -> str:
        """The insert token of the batch."""
        return f"{self.table}/{self.slice}/{self.stream}.{self.rewinds}/{self.first}-{self.last}"


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


def key(table: str, slice_name: str) -> str:
    """Return the bucket's key of a slice."""
    return f"{table}.{slice_name}"


def decode(name: str, value: bytes) -> Entry:
    """Parse an entry. Raises Broken naming its key: a position is never guessed."""
    try:
        return _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Broken(f"the entry {name!r} in the bucket of batches cannot be read: {error}", name=name) from None


class StreamState(NamedTuple):
    """MD as it is now: when it was made (seconds since the epoch), its first and its last sequence."""

    made: int
    first: int
    last: int


def succeed(found: Entry | None, wanted: tuple[str, str, str], stream: StreamState) -> Entry:
    """Return the entry with which `wanted` (table, slice, owner) takes a slice over from `found`.

    Where MD was made anew, or is shorter than `found` knew it, the sequences of `found` mean nothing any more: reading
    begins with the new stream's first message, or behind what is left of the old one.
    """
    table, slice_name, owner = wanted
    if found is None or found.stream != stream.made:
        before = max(stream.first - 1, 0)
        return Entry(
            table=table, slice=slice_name, owner=owner, stream=stream.made, state="stored", first=0, last=before
        )
    if found.last > stream.last:
        position = min(found.position, stream.last)
        return msgspec.structs.replace(
            found, owner=owner, state="stored", first=0, last=position, rewinds=found.rewinds + 1, suspects=None
        )
    return msgspec.structs.replace(found, owner=owner)
