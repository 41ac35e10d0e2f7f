"""Settings: file, environment, flags; and a wrong one is named with its value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field, SecretStr

from schemas.errors import SettingsError
from services.shared.runtime import flags
from services.shared.runtime.settings import Names, Settings


class Example(Settings):
    """An example."""

    SECTION: ClassVar[str] = "example"

    rows: int = Field(10, ge=1, description="Rows.")
    names: Names = Field(("a",), description="Names.")
    token: SecretStr | None = Field(None, description="A secret.")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("TAPELINE_CONFIG", "TAPELINE_DATA_DIR", "TAPELINE_EXAMPLE_ROWS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_flags_win_over_environment_over_file(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "tapeline.yaml").write_text("data_dir: /a\nexample:\n  rows: 1\n  names: [x, y]\nother:\n  any: 1\n")
    assert (Example.load().rows, Example.load().names) == (1, ("x", "y"))
    monkeypatch.setenv("TAPELINE_EXAMPLE_ROWS", "2")
    monkeypatch.setenv("TAPELINE_EXAMPLE_NAMES", "p, q")
    monkeypatch.setenv("TAPELINE_DATA_DIR", "/b")
    loaded = Example.load()
    assert (loaded.rows, loaded.names, loaded.data_dir) == (2, ("p", "q"), Path("/b"))
    assert Example.load(rows=3, names=None).rows == 3


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("TAPELINE_EXAMPLE_ROWS", "many", ["TAPELINE_EXAMPLE_ROWS", "'many'", "valid integer"]),
        ("TAPELINE_EXAMPLE_ROWS", "0", ["TAPELINE_EXAMPLE_ROWS", "'0'", "greater than or equal to 1"]),
        ("TAPELINE_LOG_FORMAT", "xml", ["TAPELINE_LOG_FORMAT", "'xml'", "'auto', 'json' or 'console'"]),
        ("TAPELINE_EXAMPLE_ROWZ", "1", ["TAPELINE_EXAMPLE_ROWZ is not a setting", "TAPELINE_EXAMPLE_ROWS"]),
    ],
)
def test_a_wrong_variable_is_named(
    variable: str, value: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        Example.load()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dat_dir: x\n", ["'dat_dir' is not a setting", "data_dir"]),
        ("example:\n  rowz: 1\n", ["rowz is not a setting", "rows"]),
        ("example: 3\n", ["'example' is not a setting"]),
        ("- a\n", ["must hold names and values"]),
        ("a: [\n", ["is not YAML"]),
    ],
)
def test_a_wrong_file_is_named(text: str, words: list[str], elsewhere: Path) -> None:
    (elsewhere / "tapeline.yaml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        Example.load()
    for word in words:
        assert word in str(caught.value)


def test_a_named_file_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPELINE_CONFIG", "nowhere.yaml")
    with pytest.raises(SettingsError, match=r"TAPELINE_CONFIG names nowhere\.yaml, which does not exist"):
        Example.load()


def test_each_setting_is_a_flag_but_secrets_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert flags.parse(Example, "tapeline example", ["--rows", "5", "--log-level", "debug"]) == {
        "rows": "5",
        "log_level": "debug",
    }
    with pytest.raises(SystemExit) as ended:
        flags.parse(Example, "tapeline example", ["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "TAPELINE_EXAMPLE_ROWS, default 10" in " ".join(text.split())
    assert "--token" not in text
    assert "password" not in text
    with pytest.raises(SystemExit) as refused:
        flags.parse(Example, "tapeline example", ["--row", "5"])
    assert refused.value.code == 2
