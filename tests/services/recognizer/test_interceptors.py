"""What interceptors know of a caller, and what they leave as it was."""

from __future__ import annotations

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recognizer.interceptors import host_of, is_local, network_of, wrap


@pytest.mark.parametrize(
    ("peer", "host", "network", "local"),
    [
        ("ipv4:10.1.2.3:5000", "10.1.2.3", "10.1.2.3", False),
        ("ipv4:127.0.0.1:5000", "127.0.0.1", "127.0.0.1", True),
        ("ipv6:%5B::1%5D:5000", "::1", "::1", True),
        ("ipv6:[2001:db8:1:2:3::4]:5000", "2001:db8:1:2:3::4", "2001:db8:1:2::/64", False),
        ("ipv6:%5B::ffff:10.1.2.3%5D:5000", "::ffff:10.1.2.3", "10.1.2.3", False),
        ("ipv6:%5Bfe80::1%25eth0%5D:5000", "fe80::1%eth0", "fe80::/64", False),
        ("unix:/tmp/socket", "unix", "unix", True),
        ("unix:", "unix", "unix", True),
        ("", "", "", False),
    ],
)
def test_callers(peer: str, host: str, network: str, local: bool) -> None:
    assert host_of(peer) == host
    assert network_of(host_of(peer)) == network
    assert is_local(host_of(peer)) == local


@given(st.one_of(st.text(max_size=60), st.from_regex(r"ipv[46]:[\[\]%0-9a-f:.]*", fullmatch=True)))
def test_any_peer_is_some_caller(peer: str) -> None:
    host = host_of(peer)
    assert isinstance(network_of(host), str)
    assert isinstance(is_local(host), bool)


def test_handlers_that_would_block_are_not_wrapped() -> None:
    handler = grpc.unary_unary_rpc_method_handler(lambda request, _context: request)
    with pytest.raises(TypeError, match="not asynchronous"):
        wrap(handler, lambda _context: None)
