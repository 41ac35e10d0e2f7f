"""Settings: from `tapeline.yaml`, then `TAPELINE_...` environment variables, then flags; the later one wins.

A service's own fields live in its section (`collector:` in the file, `TAPELINE_COLLECTOR_<FIELD>` in the environment);
what every service shares stands at the top (`TAPELINE_<FIELD>`). A wrong setting stops the start with its name, its
value and what is allowed; so does a name that does not exist, since a misspelt setting is a setting not made.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from schemas.errors import SettingsError
from services.shared.runtime.trust import client_context

ENV_PREFIX = "TAPELINE_"
CONFIG_VARIABLE = "TAPELINE_CONFIG"
DEFAULT_CONFIG = "tapeline.yaml"


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _no_credentials(value: str, info: ValidationInfo) -> str:
    """Refuse an address that holds a password: addresses are logged and shown, and so would the password be."""
    if "@" in value:
        server = (info.field_name or "").removesuffix("_url").upper()
        raise SettingsError(
            f"{ENV_PREFIX}{server}_URL holds a user or a password, which would be shown in logs; set "
            f"{ENV_PREFIX}{server}_USER and {ENV_PREFIX}{server}_PASSWORD instead"
        )
    return value


def _certificates(value: Path | None) -> Path | None:
    if value is not None:
        client_context(value)
    return value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A list of names: a YAML list, or text with commas in a variable or flag."""

Address = Annotated[str, AfterValidator(_no_credentials)]
"""A server's address, or several separated by commas, without credentials."""


class Settings(BaseSettings):
    """What every service shares."""

    SECTION: ClassVar[str] = ""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Field(Path("data"), description="Folder of everything that is kept on this machine.")
    host: str = Field("127.0.0.1", description="Address that this process listens on.")
    nats_url: Address = Field("nats://127.0.0.1:4222", description="The NATS server, or several separated by commas.")
    nats_user: str | None = Field(None, description="NATS user, where the server asks for one.")
    nats_password: SecretStr | None = Field(None, description="NATS password; from the environment only.")
    clickhouse_url: Address = Field("http://127.0.0.1:8123", description="ClickHouse's HTTP interface.")
    clickhouse_user: str = Field("default", description="ClickHouse user.")
    clickhouse_password: SecretStr = Field(SecretStr(""), description="ClickHouse password; from the environment only.")
    exchange_ca_file: Annotated[Path | None, AfterValidator(_certificates)] = Field(
        None, description="PEM file of a certificate authority that exchanges are believed by, besides the system's."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="Log lines as JSON, or for a person; auto: console when a person watches."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    health_port: int | None = Field(
        None, ge=0, le=65535, description="Port of /health /ready /metrics /status; 0: a free one, none: off."
    )

    @classmethod
    def variable(cls, name: str) -> str:
        """Return the environment variable of a field."""
        section = f"{cls.SECTION}_" if cls.SECTION and name not in Settings.model_fields else ""
        return f"{ENV_PREFIX}{section}{name}".upper()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags over environment over file."""
        return (init_settings, _Environment(settings_cls), InitSettingsSource(settings_cls, _from_file(cls)))

    @classmethod
    def load(cls, **flags: Any) -> Self:
        """Return the settings; a flag that is None was not given. Raises SettingsError."""
        given = {name: value for name, value in flags.items() if value is not None}
        _refuse_unknown_variables(cls)
        try:
            return cls(**given)
        except ValidationError as error:
            raise SettingsError("; ".join(_explain(cls, item) for item in error.errors())) from None


class _Environment(EnvSettingsSource):
    """Reads each field from the one variable that `Settings.variable` names."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        settings_cls = self.settings_cls
        assert issubclass(settings_cls, Settings)
        return os.environ.get(settings_cls.variable(field_name)), field_name, self.field_is_complex(field)


def _refuse_unknown_variables(cls: type[Settings]) -> None:
    if not cls.SECTION:
        return
    prefix = f"{ENV_PREFIX}{cls.SECTION}_".upper()
    known = {cls.variable(name) for name in cls.model_fields}
    for variable in sorted(os.environ):
        if variable.startswith(prefix) and variable not in known:
            raise SettingsError(f"{variable} is not a setting; those of {cls.SECTION} are {', '.join(sorted(known))}")


def _from_file(cls: type[Settings]) -> dict[str, Any]:
    path = Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_CONFIG))
    if not path.exists():
        if CONFIG_VARIABLE in os.environ:
            raise SettingsError(f"{CONFIG_VARIABLE} names {path}, which does not exist")
        return {}
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path} must hold names and values, not a {type(content).__name__}")
    # Other services' sections are theirs to check; every value that is not a section must be a shared setting.
    values = {name: value for name, value in content.items() if not isinstance(value, dict)}
    for name in values:
        if name not in Settings.model_fields:
            raise SettingsError(
                f"{path}: {name!r} is not a setting; shared ones are {', '.join(sorted(Settings.model_fields))}"
            )
    section = content.get(cls.SECTION, {}) if cls.SECTION else {}
    if not isinstance(section, dict):
        raise SettingsError(f"{path}: {cls.SECTION} must hold names and values")
    return {**values, **section}


def _explain(cls: type[Settings], error: Any) -> str:
    if not error["loc"]:  # about several at once; what was given for them all may hold a password
        return str(error["msg"]).removeprefix("Value error, ")
    name = str(error["loc"][0])
    where = cls.variable(name) if name in cls.model_fields else name
    if error["type"] == "extra_forbidden":
        return f"{where} is not a setting; allowed are {', '.join(sorted(cls.model_fields))}"
    return f"{where} is {error['input']!r}, which is not allowed: {error['msg']}"
