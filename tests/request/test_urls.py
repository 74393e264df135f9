"""Which URLs may be fetched, and which IP addresses connected to: tables, and what always holds."""

import ipaddress
import re
from urllib.parse import quote

import pytest
from generated import ODD_URLS, URL_HOSTS, URLS
from hypothesis import given
from hypothesis import strategies as st

from imgprocessor.originals.http.ip_ranges import is_global
from imgprocessor.request.names import is_url
from imgprocessor.request.urls import is_allowed, read_url, redirected, spelled_url

GLOBAL = (
    *("1.1.1.1", "8.8.8.8", "93.184.215.14", "223.255.255.254", "2606:4700::1111", "2a00::1"),
    "64:ff9b::808:808",  # 8.8.8.8 by NAT64
    "2a00::5efe:808:808",  # 8.8.8.8 by ISATAP
)
NOT_GLOBAL = (
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1"),  # noqa: S104 - nobody listens
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.9", "192.0.0.192", "192.0.2.1"),
    *("192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1"),
    *("239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
    *("::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8"),
    *("::ffff:0:7f00:1", "100::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%lo", "fec0::1"),
    *("ff02::1", "ff0e::1", "2001::1", "2001:0:808:808::1", "2001:db8::1", "2002:7f00:1::"),
    *("2002:808:808::", "3fff::1", "4000::1", "5f00::1", "64:ff9b:1::1", "2001:20::1"),
    *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe"),
    *("2a00::5efe:7f00:1", "2a00::200:5efe:a00:1", "fe80::5efe:7f00:1", "2606:4700::1%eth0"),
    *("", "localhost", "1.1.1", "01.1.1.1", "0x7f.0.0.1", "2130706433", "1.1.1.1 ", "::g"),
)


@pytest.mark.parametrize("address", GLOBAL)
def test_an_address_is_everybodys(address: str) -> None:
    assert is_global(address)


@pytest.mark.parametrize("address", NOT_GLOBAL)
def test_an_address_is_not_everybodys(address: str) -> None:
    assert not is_global(address)


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:0:0", "::", "64:ff9b::", "2a00::5efe:0:0"]))
def test_no_address_that_holds_another_is_more_than_that(
    held: ipaddress.IPv4Address, prefix: str
) -> None:
    holder = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(held))

    assert is_global(str(held)) or not is_global(str(holder))


@given(st.ip_addresses())
def test_an_address_that_python_calls_private_or_multicast_is_never_everybodys(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if not address.is_global or address.is_multicast:
        assert address in ipaddress.ip_network("64:ff9b::/96") or not is_global(str(address))


READ = {
    "https://a.example/x.jpg": "https://a.example/x.jpg",
    "http://A.Example": "http://a.example/",
    "https://a.example:443/": "https://a.example/",
    "https://a.example:80/": "https://a.example:80/",
    "https://a.example?x=1&y": "https://a.example/?x=1&y",
    'https://a.example/a b\u00fc"<>': "https://a.example/a%20b%C3%BC%22%3C%3E",
    "https://a.example/%20%zz": "https://a.example/%20%zz",
    "https://a.example/@:80/../..": "https://a.example/@:80/../..",
    "http://2130706433/": "http://2130706433/",
}


@pytest.mark.parametrize("text", READ)
def test_a_url_has_one_spelling(text: str) -> None:
    assert str(read_url(text)) == READ[text]
    assert str(read_url(READ[text])) == READ[text]


REFUSED = (
    *("", "a", "//a.example/", "a.example", "ftp://a.example/", "file:///etc/passwd", "data:,x"),
    *("gopher://a.example/", "HTTP://a.example/", "https:a.example", "https:/a.example/"),
    *("https:///a", "https://", "https://a.example:8080/", "https://a.example:/", "http://a:0/"),
    *("https://a.example:0443/", "https://a.example:443443/", "https://a.example:+80/"),
    *("https://u@a.example/", "https://u:p@a.example/", "https://a.example:80@b.example/"),
    *("https://a.example\\@b.example/", "https://a.example/\\", "https://a.example#@b.example/"),
    *(
        "https://a.example/#x",
        "https://a.example/\r\nX: y",
        "https://a.example/\0",
        "https://a\tb/",
    ),
    *(
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://\u2460.example/",
        "https://\u212a/",
    ),
    *(
        "https://a..example/",
        "https://.example/",
        "https://a.example./",
        "https://-\u00ad.example/",
    ),
    *("https://a_b.example/", "https://a%2eexample/", "https://" + "a" * 64 + ".example/"),
    *("https://" + "a." * 130 + "b/", " https://a.example/", "https://a.example /"),
    *("https://\uff41.example/", "https://a\u3002example/", "https://a.example:\u0668\u0660/"),
)


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused_says_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        read_url(text)


@given(st.text(alphabet=st.sampled_from("htps:/@.aA1%\\#?[]\n \u00e9"), max_size=30) | st.text())
def test_whatever_is_read_goes_where_it_says(text: str) -> None:
    try:
        url = read_url(text)
    except ValueError:
        return
    assert re.fullmatch("[a-z0-9.-]+", url.host)
    assert url.port in {80, 443}
    assert re.fullmatch(r"/[!-~]*", url.target)
    assert read_url(str(url)) == url
    assert is_url(text)


LISTED = {
    "images.example.org": True,
    "a.cdn.example": True,
    "a.b.cdn.example": True,
    "cdn.example": False,
    "xcdn.example": False,
    ".cdn.example": True,  # which no URL can name
    "example.org": False,
    "images.example.org.evil.example": False,
    "images-example.org": False,
    "127.0.0.1": False,
    "": False,
}


@pytest.mark.parametrize("host", LISTED)
def test_a_host_is_on_the_list_by_its_whole_name(host: str) -> None:
    assert is_allowed(host, URL_HOSTS) == LISTED[host]
    assert not is_allowed(host, ())


@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("/b", "https://a.example/b"),
        ("b?x#y", "https://a.example/x/b?x"),
        ("//b.example", "https://b.example/"),
        ("https://b.example:443/%20", "https://b.example/%20"),
        ("../../..", "https://a.example/"),
    ],
)
def test_a_redirect_leads_on(location: str, where: str) -> None:
    assert str(redirected(read_url("https://a.example/x/y"), location)) == where


@pytest.mark.parametrize(
    "location",
    [
        *(
            "http://a.example/",
            "//u@b.example/",
            "file:///etc/passwd",
            "//[::1]/",
            "//[",
            "//a:22/",
        ),
        *(
            "/a\\b",
            "\\\\b.example",
            "/ a",
            "/a\r\n",
            "//b.example:80:80/",
            "javascript:x",
            "//a_b/",
        ),
    ],
)
def test_a_redirect_may_lead_nowhere_else(location: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        redirected(read_url("https://a.example/x/y"), location)


def test_caches_read_the_same_of_a_spelling() -> None:
    pattern = spelled_url(URL_HOSTS)
    for url in URLS:
        assert re.fullmatch(pattern, url), url
        if "%" not in url:
            assert re.fullmatch(pattern, quote(url, safe="")), url
    refused = [url for url in ODD_URLS if not re.fullmatch(pattern, url)]
    assert set(ODD_URLS) - set(refused) == {
        "https://images.example.org/" + "n" * 474,  # whose length is looked at beside
        "https://images.example.org/%00",
        "https://images.example.org/%23a",
        "https://images.example.org/%FF",
    }
