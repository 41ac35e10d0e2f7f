"""The spool on disk: order, room, and what a killed process leaves behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import Broken
from schemas.frames import RawMessage
from services.collector.outbox import Packed
from services.collector.spool import Spool


def packed(number: int, size: int = 10, frames: int = 1) -> Packed:
    return Packed(
        RawMessage(f"raw.a.b.c.d.{number % 16:02d}", {"n": str(number)}, bytes([number % 256]) * size), frames
    )


def drain(spool: Spool) -> list[Packed]:
    found: list[Packed] = []
    while spool.messages:
        batch = spool.peek(3, 10**9)
        found += batch
        spool.pop(len(batch))
    return found


def test_messages_come_out_as_they_went_in_and_the_disk_is_left_empty(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6, segment_bytes=200)
    sent = [packed(n, frames=n + 1) for n in range(40)]
    assert spool.append(sent[:25]) == 25
    assert spool.append(sent[25:]) == 15
    assert (spool.messages, spool.frames) == (40, sum(range(1, 41)))
    assert len(list(tmp_path.glob("*.spool"))) > 1
    assert spool.peek(2, 10**9) == sent[:2]
    assert spool.pop(1) == 1
    assert spool.peek(2, 10**9) == sent[1:3]
    assert drain(spool) == sent[1:]
    assert (spool.messages, spool.frames, spool.bytes) == (0, 0, 0)
    assert list(tmp_path.glob("*.spool")) == []
    assert spool.append([packed(1)]) == 1
    assert drain(spool) == [packed(1)]


def test_peek_is_bounded_in_bytes_but_gives_at_least_one(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6)
    spool.append([packed(n, 1000) for n in range(5)])
    assert len(spool.peek(5, 1)) == 1
    assert len(spool.peek(5, 2500)) == 2


def test_a_full_spool_takes_what_fits_and_more_when_there_is_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 4000, segment_bytes=500)
    sent = [packed(n, 100) for n in range(100)]
    taken = spool.append(sent)
    assert 0 < taken < 100
    assert spool.append(sent[taken:]) == 0
    assert spool.bytes <= 4000
    spool.peek(10, 10**9)
    spool.pop(10)
    more = spool.append(sent[taken:])
    assert more > 0
    assert drain(spool) == sent[10 : taken + more]


def test_another_process_goes_on_where_a_killed_one_was(tmp_path: Path) -> None:
    script = (
        "import sys, os, signal; from pathlib import Path\n"
        "from services.collector.spool import Spool\n"
        "from tests.unit.test_collector_spool import packed\n"
        "spool = Spool(Path(sys.argv[1]), 10**6, segment_bytes=300)\n"
        "spool.append([packed(n) for n in range(20)])\n"
        "spool.peek(7, 10**9); spool.pop(7)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    spool = Spool(tmp_path, 10**6, segment_bytes=300)
    assert spool.cuts == []
    spool.append([packed(20)])
    found = drain(spool)
    # What was published of the segment in work is published again: readers drop doubles by number.
    first = int(found[0].message.headers["n"])
    assert 0 < first <= 7
    assert found == [packed(n) for n in range(first, 21)]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(1, 400), garble=st.booleans())
def test_a_torn_end_is_cut_and_said(tmp_path_factory: pytest.TempPathFactory, cut: int, garble: bool) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder, 10**6)
    sent = [packed(n) for n in range(6)]
    spool.append(sent)
    spool.close()
    [path] = folder.glob("*.spool")
    size = path.stat().st_size
    cut = min(cut, size)
    if garble:
        content = bytearray(path.read_bytes())
        content[size - cut] ^= 0xFF
        path.write_bytes(content)
    else:
        os.truncate(path, size - cut)
    again = Spool(folder, 10**6)
    found = drain(again)
    whole = (size - cut) // (size // 6)
    assert found == sent[:whole]
    rest = size if garble else size - cut
    assert sum(item.bytes for item in again.cuts) == rest - whole * (size // 6)
    again.append([packed(9)])
    assert drain(again) == [packed(9)]
    again.close()


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6)
    with pytest.raises(Broken, match="another collector of this name"):
        Spool(tmp_path, 10**6)
    spool.close()
    Spool(tmp_path, 10**6).close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Broken, match="file/spool cannot be written"):
        Spool(tmp_path / "file" / "spool", 10**6)


def test_a_disk_that_refuses_leaves_whole_messages_only(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6)
    sent = [packed(n, 1000) for n in range(10)]
    assert spool.append(sent[:2]) == 2
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2500, hard))
        assert spool.append(sent[2:]) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert spool.write_error
    assert spool.append(sent[2:]) == 8
    assert spool.write_error is None
    spool.close()
    again = Spool(tmp_path, 10**6)
    assert again.cuts == []
    assert drain(again) == sent
