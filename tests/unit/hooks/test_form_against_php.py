"""`decode` and PHP's own `parse_str` agree, on bodies made by hand and by hypothesis."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kommo.hooks.form import decode
from tests.unit.hooks.deliveries import CASES, body_of
from tests.unit.hooks.php import need_php, parse_str

HAND_MADE = [
    # plain fields, escapes and separators
    *["a=1", "a", "a=", "=1", "", "&&a=1&&", "a=1=2", "a==", "a=b=c&d%3De=1", "a%26b=1&c=%26", "a=1&a=2", "a;b=1;c=2"],
    *["a=%", "a=%4", "a=%zz", "%zz=1", "a=%2B+%20", "a=%E4%BD%A0&%E4%BD%A0=a", "a=%u0041", "a=%41%", "a=1\n&b=2\r\n"],
    *["8=1&0=2", "0=1&1=2", "a%5B0%5d=1", "a%5bb%5d=1", "%61=1&a=2", "%%5Ba=1", "a%255B=1", "a=%255B"],
    # names
    *[" a=1", "   a=1", "a b=1", "a.b=1", ".a=1", ".=1", " =1", "a .b[c.d e]=1", "\ta=1", "a\tb=1", "\t[]=1", "a]=1"],
    *["a]b[c]=1", "[a]=1", "[]=1", "[=1", "]=1", "[[a]=1", ".[a]=1", " [a]=1", "+a=1", "_=1", "__proto__[a]=1"],
    # brackets
    *["a[=1", "a[b=1", "a[b.c d[e=1", "a[b][=1", "a[b][c=1", "a[b][c=1&a[b]=2", "a[][=1", "a[b]c=1", "a[b]c[d]=1"],
    *["a[b]]=1", "a[b]]c[d]=1", "a[[b]]=1", "a[b[c]=1", "a[[]=1", "a[]]=1", "a[b].[c]=1", "a[b] [c]=1", "a[b%5Dc]=1"],
    *["a[ b]=1", "a[b ]=1", "a[ ]=1", "a[\t]=1&a[\v]=2", "a[  ]=1", "a[ []=1", "a[ ][b]=1", "a[%0a]=1&a[%0c]=2"],
    # keys that are numbers
    *["a[0]=1&a[1]=2", "a[1]=1&a[0]=2", "a[2]=1&a[0]=2", "a[08]=1&a[8]=2", "a[00]=1&a[0]=2", "a[-0]=1&a[0]=2"],
    *["a[8]=1&a[]=2", "a[-5]=1&a[]=2", "a[-1]=1&a[-3]=2&a[]=3", "a[1.5]=1&a[]=2", "a[0x1]=1&a[]=2", "a[+1]=1&a[]=2"],
    *["a[]=1&a[]=2", "a[]=1&a[b]=2&a[]=3", "a[]=1&a[7]=2&a[]=3", "a[][b]=1&a[][b]=2", "a[][b]=1&a[][c]=2", "a[][]=1"],
    *["a[9223372036854775806]=1&a[]=2&a[]=3", "a[9223372036854775807]=1&a[]=2", "a[9223372036854775807]=1&a[][b]=2"],
    *["a[9223372036854775808]=1&a[]=2", "a[-9223372036854775808]=1&a[]=2", "a[-9223372036854775809]=1&a[]=2"],
    # one path, several values
    *[
        "a=1&a[b]=2",
        "a[b]=2&a=1",
        "a[b]=1&a[b][c]=2",
        "a[b][c]=1&a[b]=2",
        "a[b][c]=1&a[b]=2&a[b][d]=3",
        "a[]=1&a=2&a[]=3",
    ],
    *["a[b][c]=1&a=2&a[b][d]=3", "a.b=1&a_b=2&a b=3", "a[x][y]=1&a[x][z]=2&a[w]=3&a[x][y]=4", "a[b]=1&a[]=2&a[b][]=3"],
    # NUL
    *["a=%00b", "a%00b=1", "%00a=1", "a[b%00c]=1", "a%00[b]=1", "a[%00]=1", "a[b]%00[c]=1", "a[b][c%00]=1"],
    # names that PHP keeps for itself
    *["__Host-a=1", "__Secure-a[b]=1", "_.Host-a=1", "_[Host-a=1", "a[__Host-b]=1", "a[__Host-b][c]=1", "  __Host-a=1"],
    *["__Secure-a[__Host-b]=1", "__Host-a[__Host-b]=1", "a[b][__Secure-]=1&a[b][c]=2"],
    # depth within the limit
    "a" + "[b]" * 32 + "=1",
]

_TOKENS = ["a", "b", "[", "]", "][", "[]", "[0]", "[1]", "[2]", "[-1]", "[08]", "[9223372036854775807]", ".", " ", "+"]
_TOKENS += ["%20", "%00", "%5B", "%5D", "%5b", "%5d", "=", "&", "&a[", "&a[b]", "&a[]", "__Host-", "_.Host-", "%", "%4"]
_TOKENS += ["%D0%B6", "ж", "%2B", "%26", "%3D", "%25", "%09", "\t", "\n", "1", "&a=1", "&a[b]=2", "[b][c]=", "[-0]"]


def test_bodies_made_by_hand_decode_as_php_decodes_them() -> None:
    need_php()
    bodies = [body.encode() for body in HAND_MADE]

    assert dict(zip(HAND_MADE, map(decode, bodies), strict=True)) == dict(
        zip(HAND_MADE, parse_str(bodies), strict=True)
    )


@pytest.mark.parametrize("seed", range(3))
def test_thousands_of_jumbled_bodies_decode_as_php_decodes_them(seed: int) -> None:
    need_php()
    dice = random.Random(seed)
    bodies = ["".join(dice.choices(_TOKENS, k=dice.randint(1, 22))).encode() for _ in range(2000)]

    for body, wanted in zip(bodies, parse_str(bodies), strict=True):
        assert decode(body) == wanted, body


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.large_base_example, HealthCheck.too_slow])
@given(st.lists(st.text(st.sampled_from("ab01-[].=&+% _ж\t"), max_size=40), min_size=40, max_size=80))
def test_bodies_that_hypothesis_makes_decode_as_php_decodes_them(bodies: list[str]) -> None:
    need_php()
    encoded = [body.encode() for body in bodies]

    for body, wanted in zip(encoded, parse_str(encoded), strict=True):
        assert decode(body) == wanted, body


def test_every_recorded_delivery_decodes_as_php_decodes_it() -> None:
    need_php()
    bodies = [body for case in CASES if not (body := body_of(case)).startswith(b"{")]

    assert [decode(body) for body in bodies] == parse_str(bodies)
