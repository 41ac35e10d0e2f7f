"""`tapeline bench normaliser` over the recorded session: it runs, and says when records differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.command_line import bench_normaliser
from services.command_line.bench_recorded import messages, recorded


def test_it_prints_what_was_measured_and_that_the_records_are_the_same(
    recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_normaliser.run(recordings, 1, as_json=True) == bench_normaliser.EQUAL
    said = json.loads(capsys.readouterr().out)
    assert (said["frames"], said["equal"]) == (1_535, True)
    assert said["records"] > said["frames"]
    assert said["share_of_limit"] == pytest.approx(said["limit_us"] / said["core_us"])
    assert said["frames_per_s"] == pytest.approx(1e6 / said["core_us"])


def test_records_that_differ_fail_it(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_normaliser, "_without_forms", dict)
    assert bench_normaliser.run(recordings, 1, as_json=True) == bench_normaliser.DIFFERENT


def test_a_folder_without_recordings_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_normaliser.run(tmp_path, 1, as_json=False) == bench_normaliser.NOTHING_TO_READ
    assert "no recorded sessions" in capsys.readouterr().out


def test_frames_are_packed_in_their_order(recordings: Path) -> None:
    filed = recorded(recordings, "BINANCE_FUTURES", "perp")
    packed = messages(filed, 20)
    assert sum(item.carried for item in packed) == 1_535
    assert max(item.carried for item in packed) == 20
    assert sum(not item.carried for item in packed) == 20
