"""The example for TLS in deploy/rabbitmq, on a real node: services trust the authority they are given, and no other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.bus.connect import look
from shared.errors import Unavailable
from tests.certificates import make_certificate
from tests.contract.buses import opened, orders
from tests.servers import rabbitmq
from tests.servers.processes import listens
from tests.servers.state import Started, end

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "rabbitmq" / "tls.conf"


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Its address, and the certificate to trust."""
    certificate, _ = make_certificate(tmp_path, "localhost")
    started = Started()
    node = rabbitmq.create(started)
    text = EXAMPLE.read_text(encoding="utf-8")
    changes = {
        "listeners.ssl.default = 5671": f"listeners.ssl.1 = 127.0.0.1:{node.amqp}",
        "/etc/rabbitmq/tls/ca.pem": str(certificate),
        "/etc/rabbitmq/tls/cert.pem": str(certificate),
        "/etc/rabbitmq/tls/key.pem": str(tmp_path / "key.pem"),
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file = node.folder / "rabbitmq.conf"
    own = file.read_text(encoding="utf-8").replace(f"listeners.tcp.1 = 127.0.0.1:{node.amqp}\n", "")
    file.write_text(own + text, encoding="utf-8")
    try:
        node.launch(started, lambda: listens(node.amqp))
        yield f"amqps://guest:guest@localhost:{node.amqp}/%2F", certificate
    finally:
        end(started)


async def test_s10_by_tls_to_a_broker_of_a_trusted_authority_only(
    tls: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = tls
    with pytest.raises(Unavailable):
        await look(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with opened(url) as bus:
        assert await bus.publish(orders(2)) == [True, True]
    with pytest.raises(Unavailable):
        await look(url.replace("localhost", "127.0.0.1"))
    with pytest.raises(Unavailable):
        await look(url.replace("amqps:", "amqp:"))
