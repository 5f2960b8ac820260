"""Settings that contradict each other are refused at the start; no password of an address is shown (S12, S34)."""

import pytest

from services.cli.composition import clock_of
from shared.errors import InvalidSettings
from shared.public_links import public_links
from shared.settings import is_loopback, load_settings, without_password


@pytest.mark.parametrize(
    "given",
    [{"KP_REPLY_LEASE_SECONDS": "599"}, {"KP_SMTP_FINAL_TIMEOUT_SECONDS": "901"}],
)
def test_i5_a_reply_lease_that_ends_before_the_wait_for_the_answer_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load_settings(given)
    said = str(refused.value)
    assert "KP_REPLY_LEASE_SECONDS" in said and "KP_SMTP_FINAL_TIMEOUT_SECONDS" in said and "raise the first" in said


def test_i5_a_reply_lease_as_long_as_the_wait_is_taken() -> None:
    settings = load_settings({"KP_REPLY_LEASE_SECONDS": "600"})
    assert settings.kp_reply_lease_seconds == settings.kp_smtp_final_timeout_seconds


def test_s10_a_loopback_address_is_a_number_or_localhost() -> None:
    for url in ("http://127.0.0.1", "smtp://127.1.2.3:25", "http://[::1]:8080", "smtp://localhost"):
        assert is_loopback(url), url
    for url in ("smtp://127.evil.example", "smtp://localhost.example", "smtp://10.0.0.1", "smtp://", "127.0.0.1"):
        assert not is_loopback(url), url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:geheim@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgresql://u:ge/h#e?i@m@h/d", "postgresql://u:***@h/d"),
        (
            "postgresql://u@h/d?sslpassword=geheim&x=1&password=geheim",
            "postgresql://u@h/d?sslpassword=***&x=1&password=***",
        ),
        ("postgresql://u@h/d?oauth_client_secret=geheim&x=1", "postgresql://u@h/d?oauth_client_secret=***&x=1"),
        (
            "amqp://a%40b:geheim@one,amqps://u:geheim@[::1]:5671/%2F",
            "amqp://a%40b:***@one,amqps://u:***@[::1]:5671/%2F",
        ),
        ("amqp://u:geheim@one:5672,two:5672/v", "amqp://u:***@one:5672,two:5672/v"),
        ("smtp://u@h:25", "smtp://u@h:25"),
        ("sqlite:////a/b", "sqlite:////a/b"),
    ],
)
def test_i22_an_address_is_shown_without_any_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


_SECRET = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"KP_LINK_KEYS": "short"}, "KP_LINK_KEYS"),
        ({"KP_LINK_KEYS": f"{_SECRET},{_SECRET}"}, "KP_LINK_KEYS"),
        ({"KP_PUBLIC_PORT": "8081"}, "KP_LINK_KEYS"),
        ({"KP_PUBLIC_URL": "http://firma.example"}, "KP_PUBLIC_URL"),
        ({"KP_PUBLIC_URL": "https://u:p@firma.example"}, "KP_PUBLIC_URL"),
        ({"KP_PUBLIC_PROXIES": "everybody"}, "KP_PUBLIC_PROXIES"),
    ],
)
def test_s25_settings_that_make_unsafe_links_are_refused(given: dict[str, str], name: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load_settings(given)
    assert str(refused.value).startswith(f"setting {name}: ") and _SECRET not in str(refused.value)


def test_s25_letters_have_links_where_both_the_address_and_the_secrets_are_given() -> None:
    given = {"KP_LINK_KEYS": f"{_SECRET}, {_SECRET}x", "KP_PUBLIC_URL": "https://firma.example/pflege/"}
    links = public_links(load_settings(given))
    assert links and links.preferences(1).startswith("https://firma.example/pflege/p/")
    assert all(public_links(load_settings({name: given[name]})) is None for name in given)
    assert _SECRET not in repr(load_settings(given))


@pytest.mark.parametrize(
    "secret", ["geheim", "ge/heim", "ge?heim", "ge#heim", "ge:heim", "ge@heim", "ge%2Fheim", "ge heim"]
)
@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "amqp", "amqps", "smtp+starttls"])
def test_s12_no_password_of_an_address_is_shown_however_it_is_written(scheme: str, secret: str) -> None:
    place = "host.example:5432/name"
    assert without_password(f"{scheme}://kp:{secret}@{place}") == f"{scheme}://kp:***@{place}"
    shown = without_password(
        f"{scheme}://kp@{place}?user=kp&password={secret}&sslpassword={secret}&sslmode=verify-full"
    )
    assert "heim" not in shown and shown.endswith("&sslmode=verify-full") and f"kp@{place}" in shown


@pytest.mark.parametrize(
    "url", ["sqlite:///a/b.sqlite3", "amqp://host.example", "amqp://kp@host.example:5672/v", "memory://"]
)
def test_s12_an_address_without_a_password_is_shown_as_it_is(url: str) -> None:
    assert without_password(url) == url


@pytest.mark.parametrize(
    "url", ["smtp://mail.example", "smtps://mail.example", "smtp://127.0.0.1.mail.example", "smtp://[2001:db8::1]"]
)
def test_s34_a_shifted_clock_is_refused_with_a_mail_server_elsewhere(url: str) -> None:
    start = {"KP_CLOCK_START": "2026-11-23T06:00:00+01:00"}
    with pytest.raises(InvalidSettings, match="KP_CLOCK_START: refused"):
        clock_of(load_settings({**start, "SMTP_URL": url}))
    assert (
        clock_of(load_settings({**start, "SMTP_URL": "smtp://127.0.0.1:1025"})).now().isoformat()[:10] == "2026-11-23"
    )


@pytest.mark.parametrize(("connections", "orders"), [(1, 200), (10, 200), (25, 200), (30, 240), (50, 400), (200, 400)])
def test_a_claim_goes_by_the_connections_unless_it_is_set(connections: int, orders: int) -> None:
    given = {"KP_SMTP_CONNECTIONS": str(connections)}
    assert load_settings(given).claim_batch == orders
    assert load_settings({**given, "KP_CLAIM_BATCH": "7"}).claim_batch == 7
