"""What JetStream's refusals mean: try again, give way, or give up."""

from __future__ import annotations

import pytest

from schemas.errors import Broken, Busy, Overtaken, PipelineError
from services.shared.runtime import bus


@pytest.mark.parametrize(
    ("code", "err_code", "description", "meaning"),
    [
        (400, 10071, "wrong last sequence: 7", Overtaken),
        (400, 10176, "atomic publish batch is incomplete", Busy),
        (400, 10199, "atomic publish batch is too large: 1000", Broken),
        (503, 10077, "maximum bytes exceeded", Busy),
    ],
)
def test_a_refusal(code: int, err_code: int, description: str, meaning: type[PipelineError]) -> None:
    answer = f'{{"error":{{"code":{code},"err_code":{err_code},"description":"{description}"}},"stream":"RAW","seq":0}}'
    with pytest.raises(meaning, match=description):
        bus._sequence_of(answer.encode())
