"""Ports for servers of tests: two runs beside each other never choose the same one."""

import errno
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from support.registries import free_port


def test_a_free_port_is_kept_for_a_server_and_answers_nothing_before():
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use") as refused:
        other.bind(("127.0.0.1", port))
    assert refused.value.errno == errno.EADDRINUSE
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
    with HTTPServer(("127.0.0.1", port), BaseHTTPRequestHandler), socket.create_connection(("127.0.0.1", port)):
        pass
