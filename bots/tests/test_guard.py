"""The guard: every spelling of a URL is read as the systems that connect would read it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from bots import guard

PRIVATE_HOSTS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "0x7f000001",
    "0x7F.0.0.1",
    "0x7f.1",
    "2130706433",
    "0177.0.0.1",
    "017700000001",
    "127.0x0.0.1",
    "0",
    "0.0.0.0",
    "１２７.0.0.1",  # full-width digits
    "127。0。0。1",  # ideographic full stops
    "①②⑦.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "ｌｏｃａｌｈｏｓｔ",
    "api.localhost",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "2852039166",  # the same
    "100.64.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "192.88.99.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7f00:1]",
    "[::ffff:10.0.0.1]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::1]",
    "[2001::1]",
    "[2001:0:7f00:1::]",
    "[2001:db8::1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[3fff::1]",
    "[100::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
]

INVALID_URLS = [
    "",
    "hook",
    "//93.184.215.14/",
    "ftp://93.184.215.14/",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
    "https:/93.184.215.14/",
    "https:///hook",
    "https://",
    "https://:443/",
    "https://.",
    "https://..",
    "https://a..example",
    "https://example.com..",
    "https://-a.example",
    f"https://{'a' * 64}.example",
    f"https://{'a.' * 127}example",
    "https://256.256.256.256",
    "https://1.2.3.4.5",
    "https://1.2.3.09",
    "https://0x100000000",
    "https://example.com.0x",
    "https://[::1",
    "https://::1",
    "https://[::1]evil.example/",
    "https://evil.example[::1]/",
    "https://[::1%25lo]/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[127.0.0.1]/",
    "https://[v1.fe80::a]/",
    "https://%31%32%37.0.0.1/",
    "https://127.0.0.1%00.example/",
    "https://exa mple.com/",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://example.com:４４３/",
    "https://example.com:-1/",
    "https://example.com:80:80/",
    "https://example.com\\@127.0.0.1/",
    "https://example.com\t/",
    "https://exam\nple.com/",
    " https://example.com/",
    "https://example.com/\r\nX: y",
    "https://example.com/\x00",
    "https://exa\u200bmple.com/",
    "https://example.com／@127.0.0.1/",
    f"https://example.com/{'a' * 2_000}",
]


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_spelling_of_a_private_address_is_refused_when_a_webhook_is_made(scheme, host):
    with pytest.raises(guard.PrivateAddress) as refused:
        guard.check_url(f"{scheme}://{host}:8080/hook")

    assert refused.value.code == "private_address"


@pytest.mark.parametrize("url", INVALID_URLS)
def test_what_is_no_url_or_could_be_read_in_two_ways_is_refused(url):
    with pytest.raises(guard.UrlInvalid) as refused:
        guard.check_url(url)

    assert refused.value.code == "url_invalid"


@pytest.mark.parametrize(
    "url", ["https://ann:secret@example.com/", "https://ann@example.com/", "https://example.com/#a"]
)
def test_a_webhook_has_neither_a_password_nor_a_fragment(url):
    with pytest.raises(guard.UrlInvalid) as refused:
        guard.check_url(url)

    assert "secret" not in refused.value.detail


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com./hook?token=x",
        "HTTPS://EXAMPLE.COM:8443/",
        "https://hook_1.example.com/",
        "https://bücher.example/",
        "https://93.184.215.14/",
        "https://[2606:4700::1111]/",
        "https://[::ffff:93.184.215.14]/",
        "https://[64:ff9b::93.184.215.14]/",
        "https://example.com/@127.0.0.1",
    ],
)
def test_a_public_https_url_is_fine(url):
    guard.check_url(url)


@pytest.mark.parametrize("host", ["example.com", "93.184.215.14", "[2606:4700::1111]"])
def test_plain_http_to_the_public_needs_the_setting(settings, host):
    with pytest.raises(guard.HttpsRequired) as refused:
        guard.check_url(f"http://{host}/")
    assert refused.value.code == "https_required"

    settings.BOTADMIN_ALLOW_HTTP_WEBHOOKS = True
    guard.check_url(f"http://{host}/")


@pytest.mark.parametrize("host", ["10.1.2.3", "[::ffff:10.1.2.3]", "10.66051"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_allowed_network_may_be_asked_in_either_way(settings, scheme, host):
    settings.BOTADMIN_ALLOWED_NETWORKS = [ip_network("10.0.0.0/8")]

    guard.check_url(f"{scheme}://{host}/")


def test_an_allowed_network_opens_no_other(settings):
    settings.BOTADMIN_ALLOWED_NETWORKS = [ip_network("10.0.0.0/8")]

    with pytest.raises(guard.PrivateAddress):
        guard.check_url("http://192.168.0.1/")
    with pytest.raises(guard.HttpsRequired):
        guard.check_url("http://93.184.215.14/")


def test_where_a_name_leads_decides_about_http_once_a_network_is_allowed(settings):
    settings.BOTADMIN_ALLOWED_NETWORKS = [ip_network("10.0.0.0/8")]
    guard.check_url("http://intranet/")
    target = guard.webhook_target("http://intranet/")

    guard.check_webhook(target, [ip_address("10.0.0.1")])
    with pytest.raises(guard.HttpsRequired):
        guard.check_webhook(target, [ip_address("93.184.215.14")])
    with pytest.raises(guard.HttpsRequired):
        guard.check_webhook(target, [ip_address("10.0.0.1"), ip_address("93.184.215.14")])


@pytest.mark.parametrize(
    ("url", "shown", "path"),
    [
        ("https://Example.COM.?a=b", "https://example.com:443", "/?a=b"),
        ("https://bücher.example/ü b", "https://xn--bcher-kva.example:443", "/%C3%BC%20b"),
        ("https://[2606:4700::0]:8443/%2e?q=%20", "https://[2606:4700::]:8443", "/%2e?q=%20"),
        ("https://1571937038/", "https://93.177.219.14:443", "/"),
    ],
)
def test_a_url_is_taken_apart_once(url, shown, path):
    target = guard.parse(url)

    assert (str(target), target.path) == (shown, path)
