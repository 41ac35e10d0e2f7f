"""`tapeline alert-log`: what Alertmanager says, in the log."""

from __future__ import annotations

import sys

from services.alert_log.service import serve
from services.alert_log.settings import AlertLogSettings
from services.shared.runtime.run import run

if __name__ == "__main__":
    sys.exit(run("alert-log", AlertLogSettings, serve))
