import socket

import pytest

from conftest import NetworkIsShut


def test_no_test_reaches_another_machine():
    with socket.socket() as client, pytest.raises(NetworkIsShut):
        client.connect(("192.0.2.1", 80))


def test_no_test_looks_up_a_name():
    with pytest.raises(socket.gaierror):
        socket.create_connection(("example.com", 80))


def test_this_machine_can_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
