"""Alertmanager's configuration, made from the settings: Alertmanager itself reads no environment variables."""

from __future__ import annotations

from typing import Any

import yaml

from services.alert_log.settings import AlertLogSettings

RECEIVER = "everywhere"


def configuration(settings: AlertLogSettings) -> str:
    """Return alertmanager.yml: every alert goes to the log, and to mail and Telegram where they are set."""
    receiver: dict[str, Any] = {
        "name": RECEIVER,
        "webhook_configs": [{"url": settings.url, "send_resolved": True}],
    }
    if settings.email_to:
        mail: dict[str, Any] = {
            "to": settings.email_to,
            "from": settings.email_from,
            "smarthost": settings.smtp_server,
            "send_resolved": True,
        }
        if settings.smtp_user:
            mail["auth_username"] = settings.smtp_user
        if settings.smtp_password is not None:
            mail["auth_password"] = settings.smtp_password.get_secret_value()
        receiver["email_configs"] = [mail]
    if settings.telegram_token is not None:
        receiver["telegram_configs"] = [
            {
                "bot_token": settings.telegram_token.get_secret_value(),
                "chat_id": settings.telegram_chat,
                "parse_mode": "",  # plain text: what an alert says need not be valid HTML
                "send_resolved": True,
            }
        ]
    whole = {
        "route": {
            "receiver": RECEIVER,
            "group_by": ["alertname"],
            "group_wait": "10s",
            "group_interval": "1m",
            "repeat_interval": "4h",
        },
        # A process that is down explains what is stale or late because of it.
        "inhibit_rules": [
            {
                "source_matchers": ['alertname = "ProcessDown"'],
                "target_matchers": ['alertname =~ "DataStale|RateDropped|LatencyHigh|BatcherLag"'],
            }
        ],
        "receivers": [receiver],
    }
    text: str = yaml.safe_dump(whole, sort_keys=False)
    return text
