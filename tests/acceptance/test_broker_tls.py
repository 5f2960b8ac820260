"""The example for TLS in deploy/rabbitmq, on a real node: services trust the authority they are given, and no other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.bus.connect import look
from shared.errors import Unavailable
from tests.certificates import make_certificate
from tests.contract.buses import opened, orders
from tests.servers import rabbitmq
from tests.servers.processes import free_port, listens
from tests.servers.state import Started, end

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "rabbitmq" / "tls.conf"


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[str, Path, int]]:
    """Its address, the certificate to trust, and the port on which it would take plain connections."""
    certificate, _ = make_certificate(tmp_path, "localhost")
    started = Started()
    node = rabbitmq.create(started)
    secure = free_port()
    text = EXAMPLE.read_text(encoding="utf-8")
    changes = {
        "listeners.ssl.default = 5671": f"listeners.ssl.1 = 127.0.0.1:{secure}",
        "/etc/rabbitmq/tls/ca.pem": str(certificate),
        "/etc/rabbitmq/tls/cert.pem": str(certificate),
        "/etc/rabbitmq/tls/key.pem": str(tmp_path / "key.pem"),
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file = node.folder / "rabbitmq.conf"
    own = file.read_text(encoding="utf-8")
    # What the node would listen on is for the example to switch off.
    assert f"listeners.tcp.1 = 127.0.0.1:{node.amqp}\n" in own
    file.write_text(own + text, encoding="utf-8")
    try:
        node.launch(started, lambda: listens(secure))
        yield f"amqps://guest:guest@localhost:{secure}/%2F", certificate, node.amqp
    finally:
        end(started)


async def test_s10_by_tls_to_a_broker_of_a_trusted_authority_only(
    tls: tuple[str, Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate, plain = tls
    assert not listens(plain)
    with pytest.raises(Unavailable):
        await look(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with opened(url) as bus:
        assert await bus.publish(orders(2)) == [True, True]
    with pytest.raises(Unavailable):
        await look(url.replace("localhost", "127.0.0.1"))
    with pytest.raises(Unavailable):
        await look(url.replace("amqps:", "amqp:"))
