"""The `rate_limit` section: what may be written, and what is said of what may not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from secguard import Settings
from secguard.rate_limit import RateLimitExempt, RateLimitRule, RateLimitSettings
from secguard.rate_limit.grammar import read_limit, read_statuses
from secguard.settings import SettingsError


@pytest.mark.parametrize(
    ("text", "read"),
    [
        pytest.param("100/minute", (100, 60), id="an amount and a window"),
        pytest.param("5 per 10 seconds", (5, 10), id="in words"),
        pytest.param("1/2hours", (1, 7200), id="several hours"),
        pytest.param("1000 / DAY", (1000, 86400), id="capitals and blanks"),
        pytest.param("1000000000/second", (10**9, 1), id="as many as can be counted"),
        pytest.param("3/year", (3, 360 * 86400), id="a year, as limits has it"),
    ],
)
def test_limit_is_read_as_limits_reads_it(text: str, read: tuple[int, int]) -> None:
    assert read_limit(text) == read


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no limit"),
        ("many", "is no limit"),
        ("100", "is no limit"),
        ("100/fortnight", "is no limit"),
        ("-1/second", "is no limit"),
        ("0/second", "lets in nobody"),
        ("1000000001/second", "is more than can be counted"),
        ("1/2years", "has a window of more than a year"),
        ("5/minute\n6/hour", "is no limit"),
        ("9" * 5000 + "/second", "is no limit"),
    ],
)
def test_what_is_no_limit_is_refused_with_what_to_write(text: str, problem: str) -> None:
    with pytest.raises(PydanticCustomError, match=problem) as raised:
        read_limit(text)
    assert raised.value.type == "rate-limit-string"
    assert "write 100/minute" in raised.value.message()
    assert len(raised.value.message()) < 300


@given(st.text(max_size=40))
def test_any_text_is_a_limit_or_a_mistake(text: str) -> None:
    try:
        amount, seconds = read_limit(text)
    except PydanticCustomError:
        return
    assert amount > 0
    assert seconds > 0


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("10/second; 1000/hour", id="semicolon"),
        pytest.param("10/second,1000/hour", id="comma"),
        pytest.param("10/second|1000/hour", id="bar"),
        pytest.param(["10/second", "1000/hour"], id="list"),
        pytest.param(["10/second; 1000/hour"], id="list of one text with two"),
    ],
)
def test_several_limits_are_taken_apart(written: Any) -> None:
    assert RateLimitSettings(default=written).default == ("10/second", "1000/hour")


@pytest.mark.parametrize("text", ["10/second; 1000/hour", "10/second, 1000/hour", '["10/second", "1000/hour"]'])
def test_several_limits_stand_in_one_variable(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECGUARD_RATE_LIMIT__DEFAULT", text)
    section = Settings(_env_file=None).rate_limit
    assert section is not None
    assert section.default == ("10/second", "1000/hour")


def test_rules_and_exemptions_stand_in_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = '[{"paths": "/login", "methods": "post", "limits": "5/minute; 20/hour", "statuses": [401, "5xx"]}]'
    monkeypatch.setenv("SECGUARD_RATE_LIMIT__RULES", rules)
    monkeypatch.setenv("SECGUARD_RATE_LIMIT__EXEMPT__PATHS", "/health, /ready")
    monkeypatch.setenv("SECGUARD_RATE_LIMIT__EXEMPT__NETWORKS", "10.0.0.0/8")
    monkeypatch.setenv("SECGUARD_RATE_LIMIT__KEY", "header:X-API-Key")
    section = Settings(_env_file=None).rate_limit
    assert section is not None
    (rule,) = section.rules
    assert (rule.paths, rule.methods, rule.limits) == (("/login",), ("POST",), ("5/minute", "20/hour"))
    assert read_statuses(rule.statuses) == {401, *range(500, 600)}
    assert section.exempt == RateLimitExempt(paths=["/health", "/ready"], networks=["10.0.0.0/8"])
    assert section.key == "header:x-api-key"


def test_section_that_is_merely_on_limits_nothing_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECGUARD_RATE_LIMIT", "on")
    assert Settings(_env_file=None).rate_limit == RateLimitSettings()


LOGIN = {"paths": ["/login"], "limits": "5/minute"}


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        pytest.param({"default": "5/minute; 9/60 seconds"}, "rate-limit-window", "60 seconds", id="one window twice"),
        pytest.param({"key": "cookie"}, "rate-limit-key", "write ip, user, session, global or header", id="key"),
        pytest.param({"key": "header:"}, "rate-limit-key", "'header:'", id="header without a name"),
        pytest.param({"key": "header:X Y"}, "rate-limit-key", "'header:X Y'", id="header with no name of one"),
        pytest.param({"default": 5}, "tuple_type", "", id="a number for a limit"),
        pytest.param({"key": 7}, "rate-limit-key", "'7'", id="a number as a key"),
        pytest.param({"rules": [{**LOGIN, "statuses": ["600"]}]}, "rate-limit-status", "'600'", id="status"),
        pytest.param({"rules": [{**LOGIN, "methods": ["G T"]}]}, "rate-limit-method", "'G T'", id="method"),
        pytest.param({"default": "5/minute", "cost": 6}, "rate-limit-cost", "5/minute", id="cost above the limit"),
        pytest.param({"rules": [{**LOGIN, "cost": 6}]}, "rate-limit-cost", "5/minute", id="a rule's cost"),
        pytest.param({"cost": 6, "rules": [LOGIN]}, "rate-limit-cost", "5/minute", id="a cost that rules inherit"),
        pytest.param(
            {"rules": [{**LOGIN, "name": "a"}, {"paths": "/b", "limits": "6/minute", "name": "a"}]},
            "rate-limit-name", "'a' names two", id="two of one name that differ in their limits",
        ),
        pytest.param(
            {"rules": [{**LOGIN, "name": "a"}, {**LOGIN, "name": "a", "key": "user"}]},
            "rate-limit-name", "'a' names two", id="two of one name that differ in their key",
        ),
        pytest.param({"rules": [{**LOGIN, "name": "default"}]}, "rate-limit-name", "'default'", id="reserved name"),
        pytest.param({"rules": [{**LOGIN, "paths": ["login"]}]}, "path-pattern", "", id="path"),
        pytest.param({"rules": [{"paths": ["/login"], "limits": []}]}, "too_short", "", id="rule without a limit"),
        pytest.param({"rules": [{**LOGIN, "name": 'a"b'}]}, "string_pattern_mismatch", "", id="name in quotes"),
        pytest.param({"exempt": {"networks": ["10.0.0.1/8"]}}, "cidr-host-bits", "10.0.0.0/8", id="network"),
        pytest.param({"exempt": {"networks": ["::1", "0::1"]}}, "cidr-twice", "exempt.networks", id="network twice"),
        pytest.param(
            {"default": "100001/day", "strategy": "moving-window"}, "rate-limit-moving", "100000 at most",
            id="more times than anybody wants to keep",
        ),
        pytest.param({"strategy": "leaky"}, "literal_error", "", id="strategy"),
        pytest.param({"ipv6_prefix": 16}, "greater_than_equal", "", id="half the internet as one client"),
        pytest.param({"storage": "mysql://db"}, "rate-limit-storage", "mysql", id="storage that there is none of"),
    ],
)  # fmt: skip
def test_mistake_stops_the_start(fields: dict[str, Any], code: str, said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        RateLimitSettings.model_validate(fields)
    (error,) = raised.value.errors()
    assert error["type"] == code
    assert said in error["msg"]


def test_rules_of_one_name_may_be_for_several_paths() -> None:
    shared: dict[str, Any] = {"limits": "5/minute", "name": "auth"}
    rules = [RateLimitRule(paths=["/login"], **shared), RateLimitRule(paths=["/reset"], methods=["POST"], **shared)]
    assert len(RateLimitSettings(rules=rules).rules) == 2


def test_all_mistakes_are_told_at_once_each_with_its_variable() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings(
            _env_file=None,
            rate_limit={"default": "many", "key": "cookie", "rules": [{**LOGIN, "statuses": ["x"]}], "storage": "x://"},
        )
    assert {(problem.code, problem.where.rpartition(" ")[2]) for problem in raised.value.problems} == {
        ("rate-limit-string", "default[0]"),
        ("rate-limit-key", "key"),
        ("rate-limit-status", "rules[0].statuses[0]"),
        ("rate-limit-storage", "storage"),
    }
    assert {problem.value for problem in raised.value.problems} == {"'many'", "'cookie'", "'x'", "'x://'"}


def test_sessions_cannot_be_counted_by_where_nobody_opens_any() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings(_env_file=None, rate_limit={"key": "session", "rules": [{**LOGIN, "key": "session"}, LOGIN]})
    assert [(problem.code, problem.where.rpartition(" ")[2]) for problem in raised.value.problems] == [
        ("rate-limit-session", "key"),
        ("rate-limit-session", "rules[0].key"),
    ]


def test_password_of_a_store_is_never_shown() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings(_env_file=None, rate_limit={"storage": "mysql://me:hunter2@db"})
    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in repr(Settings(_env_file=None, rate_limit={"storage": "redis://me:hunter2@db"}))


def test_section_can_be_written_down() -> None:
    section = RateLimitSettings(default="5/minute", key=lambda exchange: None, cost=lambda exchange: 2)
    written = section.model_dump_json()
    assert "lambda" in written
    assert RateLimitSettings(default="5/minute", cost=2).model_dump(mode="json")["cost"] == 2
