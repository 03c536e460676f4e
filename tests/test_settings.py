"""What Settings reads, which of several values counts, and what it makes of them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from secguard.csp import CSPPolicy
from secguard.csrf import CSRFPolicy
from secguard.events import Event
from secguard.headers import HeadersPolicy
from secguard.hosts import HostsPolicy, HostsSettings
from secguard.https import HttpsPolicy
from secguard.policy import Direct
from secguard.requests import RequestLimitsPolicy, RequestsPolicy
from secguard.settings import Origin, Settings
from tests.settings_helpers import Part, Rule, Spare, Toy, ToySettings, problem, settings, toy

# ---------------------------------------------------------------------------------------------------- variables

READ: list[tuple[str, dict[str, str], str, Any]] = [
    ("a number", {"TOY__COUNT": "5"}, "count", 5),
    ("a number with blanks around it", {"TOY__COUNT": " 5 "}, "count", 5),
    ("a truth", {"TOY__FLAG": "yes"}, "flag", True),
    ("a truth called on", {"TOY__FLAG": "on"}, "flag", True),
    ("a truth called off", {"TOY__FLAG": "off"}, "flag", False),
    ("off is None where a truth may be absent", {"TOY__MAYBE": "off"}, "maybe", None),
    ("a name in lower case", {"toy__count": "5"}, "count", 5),

    ("a list with commas", {"TOY__NAMES": "a,b"}, "names", ("a", "b")),
    ("a list with blanks", {"TOY__NAMES": " a , b "}, "names", ("a", "b")),
    ("a list of one", {"TOY__NAMES": "a"}, "names", ("a",)),
    ("a list as JSON", {"TOY__NAMES": '["a,b", " c"]'}, "names", ("a,b", " c")),
    ("an empty list", {"TOY__NAMES": "[]"}, "names", ()),
    ("a list that begins with an IPv6 address", {"TOY__NAMES": "[::1],[::2]"}, "names", ("[::1]", "[::2]")),
    ("a list of an IPv6 address with a port", {"TOY__NAMES": "[2001:db8::1]:8443"}, "names", ("[2001:db8::1]:8443",)),
    ("a list of numbers", {"TOY__SIZES": "1,2"}, "sizes", [1, 2]),
    ("a list that is off", {"TOY__SIZES": "off"}, "sizes", None),
    ("a text where a list may stand", {"TOY__PAIR": "a"}, "pair", "a"),
    ("a list where a text may stand", {"TOY__PAIR": "a,b"}, "pair", ("a", "b")),

    ("off is None", {"TOY__FRAME": "off"}, "frame", None),
    ("OFF is None", {"TOY__FRAME": "OFF"}, "frame", None),
    ("off where that is one of the choices", {"TOY__CHOICE": "off"}, "choice", "off"),
    ("Off where that is one of the choices", {"TOY__CHOICE": "Off"}, "choice", "off"),
    ("on where that is one of the choices", {"TOY__CHOICE": "on"}, "choice", "on"),
    ("off where any text may stand", {"TOY__LABEL": "off"}, "label", "off"),
    ("a part of a section that is off", {"TOY__PART": "off"}, "part", None),
    ("a part of a section that is on", {"TOY__PART": "on"}, "part", Part()),

    ("a leaf of a part", {"TOY__PART__DEPTH": "4"}, "part", Part(depth=4)),
    ("a part as JSON", {"TOY__PART": '{"depth": 4}'}, "part", Part(depth=4)),
    ("an empty part as JSON", {"TOY__PART": "{}"}, "part", Part()),
    ("a section as JSON", {"TOY": '{"part": {"depth": 4}}'}, "part", Part(depth=4)),
    ("null in JSON", {"TOY": '{"part": null}'}, "part", None),
    ("JSON beside a variable", {"TOY": '{"part": {"deep": 0}}', "TOY__PART__DEPTH": "4"}, "part", Part(depth=4)),
    ("on beside a variable", {"TOY": "on", "TOY__PART__DEPTH": "4"}, "part", Part(depth=4)),
    ("rules as JSON", {"TOY__RULES": '[{"paths": ["/a"], "count": 2}]'}, "rules", (Rule(paths=("/a",), count=2),)),

    ("a name of a mapping", {"TOY__TABLE__CAMERA": "self,b"}, "table", {"camera": ("self", "b")}),
    ("underscores in it are hyphens", {"TOY__TABLE__SCREEN_WAKE_LOCK": "a"}, "table", {"screen-wake-lock": ("a",)}),
    ("hyphens in it", {"TOY__TABLE__X-Y": "a"}, "table", {"x-y": ("a",)}),
    ("off in a mapping", {"TOY__TABLE__CAMERA": "off"}, "table", {"camera": None}),
    ("a mapping as JSON keeps its names", {"TOY__TABLE": '{"X_y": ["a"]}'}, "table", {"X_y": ("a",)}),
    ("a mapping of numbers", {"TOY__LIMITS__A": "1", "TOY__LIMITS__B": "2"}, "limits", {"a": 1, "b": 2}),
    ("a mapping of parts", {"TOY__PARTS__A__DEPTH": "4"}, "parts", {"a": Part(depth=4)}),
    ("a mapping of parts, one of them on", {"TOY__PARTS__A": "on"}, "parts", {"a": Part()}),

    ("a union", {"TOY__EITHER": "5"}, "either", 5),
    ("the other half of a union", {"TOY__EITHER": "all"}, "either", "all"),
]  # fmt: skip


@pytest.mark.parametrize(("variables", "field", "value"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_variables_are_read(variables: dict[str, str], field: str, value: object) -> None:
    named = {("SECGUARD_" if name.isupper() else "secguard_") + name: text for name, text in variables.items()}
    lines = "".join(f"{name}='{text}'\n" for name, text in named.items())
    assert getattr(toy(named), field) == value
    assert getattr(toy(dotenv=lines), field) == value
    assert getattr(toy(secrets={name: text + "\n" for name, text in named.items()}), field) == value


def test_defaults() -> None:
    made = settings()
    assert (made.environment, made.profile, made.mode) == ("production", "web", "enforce")
    assert (made.hosts, made.spare) == (None, None)
    assert made.headers
    assert made.requests
    assert made.https
    assert made.proxies
    assert made.csrf
    assert made.toy == Toy()


def test_a_section_is_switched_on_by_a_variable_of_its_own() -> None:
    assert settings({"SECGUARD_SPARE__SIZE": "4"}).spare == Spare(size=4)
    assert settings({"SECGUARD_SPARE": '{"size": 4}'}).spare == Spare(size=4)


def test_a_section_is_switched_off() -> None:
    assert settings({"SECGUARD_TOY": "off"}).toy is None
    assert settings(toy=None).toy is None


def test_variables_of_other_programs_are_ignored_wherever_they_stand() -> None:
    foreign = {"COUNT": "x", "TOY__COUNT": "x", "SECGUARDIAN": "x", "MY_SECGUARD_MODE": "x"}
    lines = "".join(f"{name}={value}\n" for name, value in foreign.items()) + "export BROKEN='x\n# SECGUARD_NO=1\n"
    assert settings(foreign, lines, {**foreign, "binary": b"\xff\xfe"}) == settings()


def test_dotenv_has_comments_quotes_and_exports() -> None:
    lines = "# ours\nexport SECGUARD_MODE = 'report' # for now\n\nSECGUARD_TOY__NAMES=\"a,b\"\nDATABASE_URL=x\n"
    made = settings(dotenv=lines)
    assert made.mode == "report"
    assert made.toy == Toy(names=("a", "b"))


def test_dotenv_with_a_byte_order_mark_is_read_from_its_first_line() -> None:
    assert settings(dotenv="\ufeffSECGUARD_MODE=report").mode == "report"


def test_dotenv_is_not_read_when_told_not_to() -> None:
    assert settings(dotenv="SECGUARD_MODE=report", _env_file=None).mode == "enforce"


def test_of_several_dotenv_files_the_last_is_the_strongest(tmp_path: Path) -> None:
    first, last = tmp_path / "first.env", tmp_path / "last.env"
    first.write_text("SECGUARD_MODE=report\nSECGUARD_PROFILE=api")
    last.write_text("SECGUARD_MODE=enforce")
    made = settings(_env_file=[first, last])
    assert (made.mode, made.profile) == ("enforce", "api")
    assert made.origins["mode"] == Origin("dotenv", "SECGUARD_MODE", str(last))


def test_secrets_may_be_links_as_kubernetes_makes_them(tmp_path: Path) -> None:
    real = tmp_path / "..data"
    real.mkdir()
    (real / "SECGUARD_TOY__PASSWORD").write_text("hunter2\n")
    (tmp_path / "SECGUARD_TOY__PASSWORD").symlink_to(real / "SECGUARD_TOY__PASSWORD")
    password = toy(_secrets_dir=tmp_path).password
    assert password
    assert password.get_secret_value() == "hunter2"


def test_the_secrets_directory_may_be_named_by_a_variable(tmp_path: Path) -> None:
    (tmp_path / "SECGUARD_MODE").write_text("report")
    assert settings({"SECGUARD_SECRETS_DIR": str(tmp_path)}).mode == "report"
    assert settings(dotenv=f"secguard_secrets_dir={tmp_path}").mode == "report"
    assert settings({"SECGUARD_SECRETS_DIR": str(tmp_path)}, secrets={}).mode == "enforce"


def test_of_several_secrets_directories_the_last_is_the_strongest(tmp_path: Path) -> None:
    for name, text in (("first", "report"), ("last", "enforce")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "SECGUARD_MODE").write_text(text)
    made = settings(_secrets_dir=[tmp_path / "first", tmp_path / "last"])
    assert made.origins["mode"] == Origin("secrets", "SECGUARD_MODE", str(tmp_path / "last"))


# --------------------------------------------------------------------------------------------------- precedence


def test_the_nearest_value_wins_leaf_by_leaf() -> None:
    made = settings(
        {"SECGUARD_TOY__COUNT": "4", "SECGUARD_TOY__MAX_AGE": "4"},
        "SECGUARD_TOY__COUNT=3\nSECGUARD_TOY__MAX_AGE=3\nSECGUARD_TOY__RATIO=3\n",
        {"SECGUARD_TOY__COUNT": "2", "SECGUARD_TOY__RATIO": "2", "SECGUARD_TOY__LABEL": "2"},
        toy={"count": 5},
        profile="strict",
    )
    assert made.toy == Toy(
        count=5, max_age=4, ratio=3, label="2", frame="DENY", part=Part(depth=20), table={"camera": ()}
    )
    assert made.origins["toy.count"] == Origin("code", "toy.count")
    assert made.origins["toy.max_age"] == Origin("environment", "SECGUARD_TOY__MAX_AGE")
    assert made.origins["toy.ratio"] == Origin("dotenv", "SECGUARD_TOY__RATIO", ".env")
    assert made.origins["toy.label"] == Origin("secrets", "SECGUARD_TOY__LABEL", "secrets")
    assert made.origins["toy.frame"] == Origin("profile", "strict")
    assert made.origins["toy.part.depth"] == Origin("profile", "strict")
    assert made.origins["toy.table.camera"] == Origin("profile", "strict")
    assert made.origins["toy.part.label"] == Origin("default")
    assert made.origins["profile"] == Origin("code", "profile")
    assert made.origins["hosts"] == Origin("default")


def test_every_leaf_has_an_origin() -> None:
    made = settings({"SECGUARD_TOY__TABLE__CAMERA": "self"}, spare={"size": 1})
    assert made.origins.keys() >= {
        "environment", "profile", "mode", "hosts", "toy.mode", "toy.part.depth", "toy.table.camera", "toy.limits",
        "toy.names", "spare.size", "spare.colour", "headers.hsts.max_age", "proxies.trusted", "requests.mode",
    }  # fmt: skip
    assert "toy" not in made.origins
    assert "toy.part" not in made.origins


def test_the_environment_switches_off_what_dotenv_switches_on() -> None:
    assert settings({"SECGUARD_TOY": "off"}, "SECGUARD_TOY=on").toy is None
    assert settings({"SECGUARD_TOY": "on"}, "SECGUARD_TOY=off").toy == Toy()
    assert settings({"SECGUARD_TOY": "off"}, 'SECGUARD_TOY={"count": 9}').toy is None
    assert settings({"SECGUARD_TOY": '{"count": 9}'}, "SECGUARD_TOY=off").toy == Toy(count=9)
    assert toy({"SECGUARD_TOY__FRAME": "off"}, dotenv="SECGUARD_TOY__FRAME=DENY").frame is None


def test_a_mapping_in_code_merges_with_the_variables() -> None:
    made = settings({"SECGUARD_TOY__COUNT": "4", "SECGUARD_TOY__PART__LABEL": "x"}, toy={"part": {"depth": 9}})
    assert made.toy == Toy(count=4, part=Part(depth=9, label="x"))
    assert not made.shadowed


def test_names_of_mappings_merge_whatever_their_case() -> None:
    made = toy({"SECGUARD_TOY__TABLE__X_FRAME": "a", "SECGUARD_TOY__TABLE__B": "b"}, toy={"table": {"X-Frame": ["c"]}})
    assert made.table == {"X-Frame": ("c",), "b": ("b",)}


def test_fields_may_be_spelled_with_hyphens_in_code_and_merge_as_ever() -> None:
    env = {"SECGUARD_TOY__MAX_AGE": "5", "SECGUARD_TOY__PART__DEPTH": "4"}
    made = settings(env, toy={"max-age": 7, "part": {"label": "x"}})
    assert made.toy == Toy(max_age=7, part=Part(label="x", depth=4))


def test_an_instance_in_code_replaces_the_variables_and_says_which() -> None:
    env = {"SECGUARD_TOY__COUNT": "4", "SECGUARD_TOY__LABEL": "x", "SECGUARD_MODE": "report"}
    made = settings(env, 'SECGUARD_TOY={"ratio": 3, "max_age": 3}', toy=Toy(max_age=1))
    assert made.toy == Toy(max_age=1)
    assert made.shadowed == {
        "toy": (
            Origin("environment", "SECGUARD_TOY__COUNT"),
            Origin("environment", "SECGUARD_TOY__LABEL"),
            Origin("dotenv", "SECGUARD_TOY", ".env"),
        )
    }
    assert made.origins["toy.max_age"].kind == "code"
    assert made.origins["toy.count"].kind == "default"


def test_an_instance_in_code_lies_over_the_profile() -> None:
    made = settings(profile="strict", toy=Toy(count=1, part=Part(label="x"), table={"b": None}))
    assert made.toy == Toy(count=1, part=Part(label="x", depth=20), frame="DENY", table={"camera": (), "b": None})
    assert made.origins["toy.table.b"].kind == "code"
    assert made.origins["toy.table.camera"] == Origin("profile", "strict")
    assert made.origins["toy.count"].kind == "code"
    assert made.origins["toy.part.label"].kind == "code"
    assert made.origins["toy.part.depth"] == Origin("profile", "strict")
    assert made.origins["toy.part.deep"].kind == "default"


def test_what_a_section_makes_of_a_value_comes_from_where_the_value_came_from() -> None:
    made = settings(toy={"quota": "a b"})
    assert made.toy == Toy(quota={"a": 1, "b": 1})
    assert made.origins["toy.quota.a"] == Origin("code", "toy.quota")


def test_none_in_code_shadows_the_variables() -> None:
    made = settings({"SECGUARD_TOY__COUNT": "4", "SECGUARD_SPARE__SIZE": "1"}, toy=None)
    assert made.toy is None
    assert made.spare == Spare(size=1)
    assert made.shadowed == {"toy": (Origin("environment", "SECGUARD_TOY__COUNT"),)}


def test_code_switches_on_what_a_variable_switches_off_and_says_so() -> None:
    assert settings({"SECGUARD_TOY": "off"}, toy={"count": 1}).shadowed == {
        "toy": (Origin("environment", "SECGUARD_TOY"),)
    }
    assert settings({"SECGUARD_TOY": "off"}, toy={}).toy == Toy()


def test_code_shadows_single_leaves() -> None:
    made = settings({"SECGUARD_TOY__COUNT": "4"}, toy={"count": 5, "part": Part(depth=3)})
    assert made.shadowed == {"toy.count": (Origin("environment", "SECGUARD_TOY__COUNT"),)}
    assert made.origins["toy.part.depth"].kind == "code"


# ----------------------------------------------------------------------------------------------------- profiles


def test_a_profile_lies_under_what_was_written() -> None:
    env = {"SECGUARD_PROFILE": "strict", "SECGUARD_TOY__PART__LABEL": "x", "SECGUARD_TOY__FRAME": "SAME"}
    assert toy(env) == Toy(count=7, part=Part(depth=20, label="x"), table={"camera": ()}, frame="SAME")


def test_a_profile_is_laid_before_validation() -> None:
    assert toy({"SECGUARD_PROFILE": "strict", "SECGUARD_TOY__PART__DEEP": "true"}).part == Part(depth=20, deep=True)
    assert problem({"SECGUARD_TOY__PART__DEEP": "true"}).code == "toy-shallow"


def test_a_profile_does_not_switch_a_section_on() -> None:
    assert settings(profile="strict").spare is None
    assert settings(profile="strict", toy=None).toy is None
    assert settings(profile="strict", spare={"size": 1}).spare == Spare(size=1, colour="black")


def test_a_profile_does_not_bring_back_what_was_switched_off() -> None:
    assert toy({"SECGUARD_PROFILE": "strict", "SECGUARD_TOY__PART": "off"}).part is None


def test_what_a_profile_switches_off_can_be_switched_on() -> None:
    assert toy({"SECGUARD_PROFILE": "api"}).part is None
    assert toy({"SECGUARD_PROFILE": "api", "SECGUARD_TOY__PART": "on"}).part == Part()
    assert toy({"SECGUARD_PROFILE": "api", "SECGUARD_TOY__PART__DEPTH": "2"}).part == Part(depth=2)


# -------------------------------------------------------------------------------------------------- the instance


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings().mode = "report"  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings().origins["mode"] = Origin("default")  # type: ignore[index]


def test_two_settings_share_nothing() -> None:
    one, two = settings(toy={"table": {"a": ["b"]}}), settings()
    assert two.toy
    assert one.toy
    two.toy.table["c"] = ("d",)
    assert one.toy.table == {"a": ("b",)}
    assert settings().toy == Toy()


def test_settings_are_equal_where_their_values_are() -> None:
    assert settings({"SECGUARD_MODE": "report"}) == settings(mode="report")
    assert settings({"SECGUARD_MODE": "report"}) != settings()


def test_repr_shows_no_secret() -> None:
    made = settings(toy={"password": "hunter2", "pins": ["hunter2"], "storage": "redis://user:hunter2@host/0"})
    assert "hunter2" not in repr(made) + str(made)
    assert "redis://********@host/0" in repr(made)


def test_settings_are_made_in_less_than_30_ms() -> None:
    settings()
    start = time.perf_counter()
    for _ in range(10):
        settings({"SECGUARD_TOY__COUNT": "4"}, "SECGUARD_MODE=report")
    assert (time.perf_counter() - start) / 10 < 0.030


# ------------------------------------------------------------------------------------------- context and policies


def test_policies_stand_in_the_one_order() -> None:
    made = Settings(_env_file=None, hosts={"allowed": ["example.com"]}).policies()
    assert [type(policy) for policy in made] == [
        HeadersPolicy,
        CSPPolicy,
        RequestsPolicy,
        HostsPolicy,
        HttpsPolicy,
        CSRFPolicy,
        RequestLimitsPolicy,
    ]


def test_a_section_that_is_off_has_no_policy() -> None:
    off = dict.fromkeys(("headers", "csp", "https", "requests", "proxies", "csrf"))
    assert Settings(_env_file=None, **off).policies() == ()


def test_policies_share_one_context() -> None:
    made = settings(profile="strict", mode="report")
    contexts = {id(policy.context): policy.context for policy in made.policies()}
    (context,) = contexts.values()
    assert (context.environment, context.profile, context.mode) == ("production", "strict", "report")


def test_the_context_takes_what_it_is_given() -> None:
    resolver, sinks = Direct(), (print,)
    context = settings().context(resolver=resolver, sinks=sinks, mode="report", clock=lambda: 1.0)
    assert (context.resolver, context.sinks, context.mode, context.clock()) == (resolver, sinks, "report", 1.0)


def test_the_resolver_is_the_proxies_and_its_notices_reach_the_sinks() -> None:
    events: list[Event] = []
    context = settings(proxies={"trusted": ["127.0.0.1"], "proto": "x-forwarded-proto"}).context(sinks=(events.append,))
    assert context.resolver.trusts
    context.resolver._notice("proxies.test", "said", hop="x")  # type: ignore[attr-defined]
    assert [(event.code, dict(event.detail)) for event in events] == [("proxies.test", {"hop": "x"})]
    assert isinstance(settings(proxies=None).context().resolver, Direct)


# ------------------------------------------------------------------------------------------------- development


def test_development_says_so_once_for_each_guard() -> None:
    events: list[Event] = []
    made = settings(environment="development")
    made.policies(sinks=(events.append,))
    assert [event.code for event in events] == ["settings.development"]
    assert "SECGUARD_ENVIRONMENT=production" in events[0].reason
    settings().policies(sinks=(events.append,))
    assert len(events) == 1


def test_development_allows_loopback_names_unless_hosts_are_set() -> None:
    made = settings(environment="development")
    assert made.hosts == HostsSettings.loopback()
    assert made.origins["hosts.allowed"] == Origin("development")
    assert settings({"SECGUARD_ENVIRONMENT": "development", "SECGUARD_HOSTS": "off"}).hosts is None
    assert settings(environment="development", hosts=None).hosts is None
    assert settings(environment="development", hosts={"allowed": ["a.example"]}).hosts == HostsSettings(
        allowed=("a.example",)
    )
    kept = settings(environment="development", hosts={"mode": "report"}).hosts
    assert kept == HostsSettings(allowed=HostsSettings.loopback().allowed, mode="report")


def test_a_subclass_may_have_no_sections_of_its_own() -> None:
    assert ToySettings.model_validate({"_env_file": None, "mode": "report"}).mode == "report"
