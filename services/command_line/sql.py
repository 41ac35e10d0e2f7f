"""`tapeline sql`: a question to the running pipeline's tables, or to a data directory at rest."""

from __future__ import annotations

import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from schemas.errors import BadRecord, Broken
from services.command_line.pipeline import running
from services.shared.runtime.settings import Settings

URL_VARIABLE = "TAPELINE_CLICKHOUSE_URL"


def query(data_dir: Path, sql: str, output_format: str) -> bytes:
    """Return the answer in a ClickHouse format. Raises BadRecord with ClickHouse's own words when it refuses.

    Asked are, in this order: the pipeline that runs on `data_dir`; the ClickHouse that TAPELINE_CLICKHOUSE_URL names;
    the tables in `data_dir`, at rest.
    """
    settings = Settings.load(data_dir=data_dir)
    pipeline = running(data_dir)
    if pipeline is not None:
        return _ask(pipeline.clickhouse_url, settings, sql, output_format)
    if URL_VARIABLE in os.environ:
        return _ask(settings.clickhouse_url, settings, sql, output_format)
    from services.embedded_clickhouse.at_rest import query_at_rest  # the engine takes a second to load

    return query_at_rest(data_dir, sql, output_format)


def _ask(url: str, settings: Settings, sql: str, output_format: str) -> bytes:
    parameters = urllib.parse.urlencode({"default_format": output_format})
    request = urllib.request.Request(f"{url}/?{parameters}", data=sql.encode(), method="POST")
    request.add_header("X-ClickHouse-User", settings.clickhouse_user)
    request.add_header("X-ClickHouse-Key", settings.clickhouse_password.get_secret_value())
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        raise BadRecord(error.read().decode(errors="replace").strip()) from None
    except OSError as error:
        raise Broken(f"ClickHouse at {url} does not answer: {error}") from None
