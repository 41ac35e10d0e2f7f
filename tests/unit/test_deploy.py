"""What deploys tapeline says the same as the code: users, variables, partitions, tables, images."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas import accounts, subjects, tables
from services.command_line import dotenv
from services.normaliser.settings import NormaliserSettings
from services.shared.exchanges.registry import DEFAULT_EXCHANGES, MARKETS
from services.shared.runtime.probe import answers
from services.storage_batcher.settings import StorageBatcherSettings
from tests import generated

ROOT = Path(__file__).parents[2]
SINGLE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CLUSTER = yaml.safe_load((ROOT / "deploy" / "cluster" / "docker-compose.yml").read_text())
EXAMPLE = (ROOT / ".env.example").read_text()
KNOWN = {section.variable(name) for section in generated.SECTIONS for name in section.model_fields}
BOTH = pytest.mark.parametrize("compose", [SINGLE, CLUSTER], ids=["one machine", "cluster"])


def commands() -> set[str]:
    text = (ROOT / "services" / "command_line" / "__main__.py").read_text()
    return set(re.findall(r'app\.command\("([a-z-]+)"', text)) | set(re.findall(r"command\(.*\)\ndef ([a-z_]+)", text))


@BOTH
def test_containers_set_what_exists_and_start_what_exists(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        environment = service.get("environment", {})
        unknown = {variable for variable in environment if variable.startswith("TAPELINE_")} - KNOWN
        assert not unknown, (name, unknown)
        if service["image"].startswith("tapeline:") and "entrypoint" not in service:
            assert set(service["command"]) <= commands(), name
            assert environment.get("TAPELINE_NATS_USER", name) in {user.name for user in accounts.SERVICES} | {name}


@BOTH
def test_containers_restart_are_bounded_and_open_nothing_to_others(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["restart"] in ("unless-stopped", "on-failure"), name
        assert "mem_limit" in service, name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert re.search(r":\w*[\d$]", service["image"]), f"{name}: {service['image']} names no version"


def test_every_container_of_one_machine_has_a_health_check_and_rotates_its_log() -> None:
    for name, service in SINGLE["services"].items():
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
        assert "test" in service["healthcheck"] or name == "provision", name


@BOTH
def test_passwords_come_from_the_environment_and_without_them_nothing_starts(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            optional = "ALERT_LOG" in variable
            if variable.endswith(("_PASSWORD", "_SECRET")) and not optional:
                found = re.fullmatch(r"\$\{(\w+):\?[^}]*make env[^}]*\}", value)
                assert found, (name, variable)
                assert f"{found[1]}=\n" in EXAMPLE, found[1]


def test_the_demo_simulates_what_is_collected_by_default_and_nothing_else_is_asked() -> None:
    simulated = SINGLE["services"]["exchange-simulator"]["environment"]["TAPELINE_EXCHANGE_SIMULATOR_EXCHANGES"]
    assert set(simulated.split(",")) == set(DEFAULT_EXCHANGES)
    for service, variable, scheme in (
        ("collector-demo", "TAPELINE_COLLECTOR_WS_URLS", "ws"),
        ("collector-demo", "TAPELINE_COLLECTOR_REST_URLS", "http"),
        ("gap-backfill-demo", "TAPELINE_GAP_BACKFILL_REST_URLS", "http"),
    ):
        wanted = {
            f"{exchange}.{market}": f"{scheme}://exchange-simulator:8090/{exchange}/{market}"
            for exchange, market in MARKETS
            if exchange in DEFAULT_EXCHANGES
        }
        assert json.loads(SINGLE["services"][service]["environment"][variable]) == wanted, (service, variable)


@BOTH
def test_the_servers_know_every_user(compose: dict[str, Any]) -> None:
    wanted = {"NATS_ADMIN_PASSWORD", "NATS_SYSTEM_PASSWORD", accounts.BOT.password_variable}
    wanted |= {user.password_variable for user in accounts.SERVICES}
    for name, service in compose["services"].items():
        if service["image"].startswith("nats:"):
            assert wanted <= set(service["environment"]), name


def test_the_work_is_shared_whole_and_none_of_it_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    owned: list[int] = []
    filled: list[str] = []
    for service in CLUSTER["services"].values():
        for variable, value in service.get("environment", {}).items():
            if variable == NormaliserSettings.variable("partitions"):
                owned += NormaliserSettings.load(partitions=value).partitions
            if variable == StorageBatcherSettings.variable("tables"):
                filled += StorageBatcherSettings.load(tables=tuple(value.replace(" ", "").split(","))).tables
    assert sorted(owned) == list(range(subjects.PARTITIONS))
    assert sorted(filled) == sorted(table.name for table in tables.TABLES)


def test_kubernetes_shares_the_work_like_the_compose_file() -> None:
    text = (ROOT / "deploy" / "kubernetes" / "services.yaml").read_text()
    containers = [
        document["spec"]["template"]["spec"]["containers"][0]
        for document in yaml.safe_load_all(text)
        if document["kind"] in ("Deployment", "StatefulSet")
    ]
    found: dict[str, list[str]] = {}
    for container in containers:
        assert set(container["args"]) <= commands()
        assert container["securityContext"]["runAsNonRoot"] is True
        for variable in container["env"]:
            assert variable["name"] in KNOWN, variable["name"]
            found.setdefault(variable["name"], []).append(variable.get("value", ""))
    assert sorted(found["TAPELINE_NORMALISER_PARTITIONS"]) == ["0-7", "8-15"]
    filled = ",".join(found["TAPELINE_STORAGE_BATCHER_TABLES"]).replace(" ", "").split(",")
    assert sorted(filled) == sorted(table.name for table in tables.TABLES)


def test_kubernetes_manifests_are_rendered() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ["kubectl", "kustomize", "--load-restrictor", "LoadRestrictionsNone", str(ROOT / "deploy" / "kubernetes")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = [(item["kind"], item["metadata"]["name"]) for item in yaml.safe_load_all(done.stdout)]
    for name in ("nats", "keeper", "clickhouse-1", "clickhouse-2", "collector"):
        assert ("StatefulSet", name) in made
    assert len(made) == len(set(made))


def test_systemd_units_are_understood() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    units = sorted(str(path) for path in (ROOT / "deploy" / "systemd").iterdir())
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    # The programs are not where the units will find them; that is all that may be wrong here.
    said = [line for line in done.stderr.splitlines() if "/opt/tapeline/.venv/bin/" not in line]
    assert not [line for line in said if "tapeline" in line], said


def test_clickhouse_users_are_bounded() -> None:
    users = ET.parse(ROOT / "clickhouse" / "users.d" / "tapeline.xml").getroot()
    names = {user.tag for user in users.findall("users/*") if "remove" not in user.attrib}
    assert names == {"admin", "writer", "reader"}
    for name in names:
        assert users.find(f"users/{name}/password").attrib == {"from_env": f"CLICKHOUSE_{name.upper()}_PASSWORD"}  # type: ignore[union-attr]
    assert users.find("users/default").attrib == {"remove": "remove"}  # type: ignore[union-attr]
    assert users.findtext("profiles/reading/readonly") == "2"
    for limit in ("max_memory_usage", "max_execution_time"):
        most = users.findtext(f"profiles/reading/{limit}")
        bounds = users.find(f"profiles/reading/constraints/{limit}")
        assert bounds is not None
        assert (bounds.findtext("min"), bounds.findtext("max")) == ("1", most)
    assert users.findtext("profiles/writing/allow_ddl") == "0"
    granted = [grant.text or "" for grant in users.findall("users/reader/grants/query")]
    assert granted
    assert all(re.fullmatch(r"GRANT (SHOW, )?SELECT ON [\w.*]+", grant) for grant in granted)


@pytest.mark.parametrize("path", sorted((ROOT / "deploy").rglob("*.xml")), ids=lambda path: path.name)
def test_configuration_of_a_cluster_is_xml(path: Path) -> None:
    assert ET.parse(path).getroot().tag == "clickhouse"


def test_env_is_filled_once_and_kept() -> None:
    text, added = dotenv.filled(EXAMPLE, {})
    made = dotenv.variables(text)
    secrets = {name for name in added if name.endswith("_PASSWORD")} - set(dotenv.THEIRS)
    assert len({made[name] for name in secrets}) == len(secrets) > 10
    assert all(re.fullmatch(r"s[0-9a-f]{48}", made[name]) for name in secrets)
    assert not set(dotenv.THEIRS) & set(made), "nobody else's password is made up"
    again, added_again = dotenv.filled(EXAMPLE + "NEW_PASSWORD=\n", {**made, "NATS_PORT": "14222"})
    kept = dotenv.variables(again)
    assert {name: kept[name] for name in made} == made
    assert kept["NATS_PORT"] == "14222"
    assert "NEW_PASSWORD" in added_again
    assert not secrets & set(added_again)


def test_make_env_writes_a_file_for_its_owner_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".env.example").write_text(EXAMPLE)
    assert dotenv.main(tmp_path) == 0
    written = tmp_path / ".env"
    assert written.stat().st_mode & 0o777 == 0o600
    said = capsys.readouterr().out
    assert str(written) in said
    assert not any(value in said for value in dotenv.variables(written.read_text()).values() if len(value) > 20)
    before = written.read_text()
    assert dotenv.main(tmp_path) == 0
    assert written.read_text() == before


def test_the_example_has_no_value_that_works() -> None:
    assert set(dotenv.variables(EXAMPLE)) == {"COMPOSE_PROFILES"}


def test_a_probe_of_nobody_fails() -> None:
    assert not answers("http://127.0.0.1:1/health")
