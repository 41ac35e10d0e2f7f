"""Settings of alert-log: where alerts go besides the log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from services.shared.runtime.settings import Settings


def _unless_empty(value: object) -> object:
    return None if value == "" else value


Text = Annotated[str | None, BeforeValidator(_unless_empty)]
Secret = Annotated[SecretStr | None, BeforeValidator(_unless_empty)]
Number = Annotated[int | None, BeforeValidator(_unless_empty)]


class AlertLogSettings(Settings):
    """Where Alertmanager sends alerts besides the log; an empty value is none."""

    SECTION: ClassVar[str] = "alert_log"

    port: int = Field(8070, ge=0, le=65535, description="Port that Alertmanager posts alerts to; 0: a free one.")
    url: str = Field("http://alert-log:8070/alerts", description="Address of that port as Alertmanager sees it.")
    email_to: Text = Field(None, description="Address that alerts are mailed to; none: no mail.")
    email_from: Text = Field(None, description="Address that they are mailed from.")
    smtp_server: Text = Field(None, description="Mail server, such as smtp.example.org:587.")
    smtp_user: Text = Field(None, description="User of the mail server, where it asks for one.")
    smtp_password: Secret = Field(None, description="Password there; from the environment only.")
    telegram_token: Secret = Field(None, description="Token of a Telegram bot; from the environment only.")
    telegram_chat: Number = Field(None, description="Telegram chat that it writes to; none: no Telegram.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.email_to and not (self.email_from and self.smtp_server):
            raise ValueError("alerts by mail need email_to, email_from and smtp_server")
        if (self.telegram_token is None) != (self.telegram_chat is None):
            raise ValueError("alerts by Telegram need both telegram_token and telegram_chat")
        return self

    @property
    def configuration(self) -> Path:
        """Where Alertmanager's configuration is written."""
        return self.data_dir / "alertmanager" / "alertmanager.yml"
