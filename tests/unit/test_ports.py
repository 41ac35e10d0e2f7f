"""Ports chosen for servers that are about to start."""

from __future__ import annotations

import socket

import pytest

from schemas.errors import Broken
from services.command_line.processes import Ports


def test_ports_chosen_together_are_all_different_and_can_be_opened_afterwards() -> None:
    with Ports("127.0.0.1") as ports:
        chosen = [ports.take(0, "X") for _ in range(200)]
    assert len(set(chosen)) == 200
    with socket.create_server(("127.0.0.1", chosen[0])) as server:
        assert server.getsockname()[1] == chosen[0]


def test_a_port_in_use_is_named_with_its_setting() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Ports("127.0.0.1") as ports,
        pytest.raises(Broken, match=rf"port {server.getsockname()[1]} .* set TAPELINE_UP_NATS_PORT"),
    ):
        ports.take(server.getsockname()[1], "TAPELINE_UP_NATS_PORT")
