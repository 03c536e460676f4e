"""What answers tell of their limits, in each dialect."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.rate_limit.dialects import dialect, tightest, until
from secguard.rate_limit.settings import Dialect
from secguard.store.quota import Quota, Standing
from tests.helpers import answering
from tests.limited_apps import limited

NAMES = (
    b"ratelimit", b"ratelimit-policy", b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset",
    b"retry-after",
)  # fmt: skip


def told(headers: str) -> list[dict[bytes, bytes]]:
    """What is told of two requests that are let in, and of one that is refused."""
    site = limited("2/minute; 9/hour", headers=headers, strategy="fixed-window")
    answers = []
    for _ in range(3):
        answers.append({name: value for name, value in site.ask().headers if name in NAMES})
        site.clock.move(10)
    return answers


def test_draft_11_tells_of_every_limit_by_its_name() -> None:
    policy = b'"default-60s";q=2;w=60, "default-3600s";q=9;w=3600'
    assert told("draft-11") == [
        {b"ratelimit-policy": policy, b"ratelimit": b'"default-60s";r=1;t=60, "default-3600s";r=8;t=3600'},
        {b"ratelimit-policy": policy, b"ratelimit": b'"default-60s";r=0;t=50, "default-3600s";r=7;t=3590'},
        {
            b"ratelimit-policy": policy,
            b"ratelimit": b'"default-60s";r=0;t=41, "default-3600s";r=7;t=3580',
            b"retry-after": b"41",
        },
    ]


def test_draft_7_tells_of_the_limit_that_is_nearest() -> None:
    policy = b"2;w=60, 9;w=3600"
    assert told("draft-7") == [
        {b"ratelimit-policy": policy, b"ratelimit": b"limit=2, remaining=1, reset=60"},
        {b"ratelimit-policy": policy, b"ratelimit": b"limit=2, remaining=0, reset=50"},
        {b"ratelimit-policy": policy, b"ratelimit": b"limit=2, remaining=0, reset=41", b"retry-after": b"41"},
    ]


def test_x_ratelimit_tells_of_it_in_three_lines_and_by_the_clock() -> None:
    first, _, refused = told("x-ratelimit")
    assert first == {
        b"x-ratelimit-limit": b"2",
        b"x-ratelimit-remaining": b"1",
        b"x-ratelimit-reset": b"%d" % (1_700_000_040 + 60),
    }
    assert refused[b"x-ratelimit-reset"] == b"%d" % (1_700_000_060 + 41)
    assert refused[b"retry-after"] == b"41"


def test_nothing_is_told_where_it_is_off_but_when_to_come_back() -> None:
    assert told("off") == [{}, {}, {b"retry-after": b"41"}]


def test_headers_of_the_app_stay_where_nothing_is_told() -> None:
    site = limited("5/minute", answering(headers=[(b"RateLimit", b"theirs")]), headers="off")
    assert site.ask().header(b"ratelimit") == b"theirs"


# RFC 9651: a list of strings with integer parameters.
ITEM = rb'"(?:[ !#-\[\]-~])*"(?:;[a-z]+=-?[0-9]{1,15})*'
LIST = re.compile(ITEM + rb"(?:, " + ITEM + rb")*")

standings = st.builds(
    Standing,
    quota=st.builds(
        Quota,
        bucket=st.just("b"),
        amount=st.integers(1, 10**9),
        seconds=st.integers(1, 10**7),
        label=st.text(st.sampled_from("ab%/{}-~ "), min_size=1),
    ),
    remaining=st.integers(0, 10**9),
    wait=st.floats(0, 10**7),
    refused=st.booleans(),
)


@given(st.lists(standings, min_size=1, max_size=4), st.sampled_from(("draft-11", "draft-7", "x-ratelimit")))
def test_whatever_is_told_is_well_formed(held: list[Standing], name: Dialect) -> None:
    tell = dialect(name, lambda: 1_700_000_000.5)
    assert tell is not None
    lines: list[tuple[bytes, bytes]] = []
    again: list[tuple[bytes, bytes]] = []
    tell(held, lines)
    tell(held, again)
    assert again == lines
    assert len({line for line, _ in lines}) == len(lines)
    for _, value in lines:
        if name == "draft-11":
            assert LIST.fullmatch(value)
            assert value.count(b";") == 2 * len(held)
        elif name == "x-ratelimit":
            assert value.isdigit()


@given(standings)
def test_time_is_in_whole_seconds_and_never_too_short(standing: Standing) -> None:
    assert until(standing) >= standing.wait
    assert until(standing) <= standing.wait + 1.001
    assert until(standing) > 0 or not standing.refused


@given(st.lists(standings, min_size=1))
def test_refused_limit_is_the_nearest(held: list[Standing]) -> None:
    assert tightest(held).refused is any(standing.refused for standing in held)


@pytest.mark.parametrize("name", ["draft-11", "draft-7", "x-ratelimit"])
def test_two_apps_share_nothing(name: Dialect) -> None:
    first, second = (limited("5/minute", headers=name).ask() for _ in range(2))
    assert first.headers == second.headers
