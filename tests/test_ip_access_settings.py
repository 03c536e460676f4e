"""The `ip_access` section: what it accepts, and what it says about the rest."""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from secguard.ip_access import IPAccessPolicy, IPAccessRule, IPAccessSettings, NetworkFile, NetworkList
from secguard.policy import Profile
from tests.settings_helpers import problem, settings


def test_entries_are_kept_in_one_spelling() -> None:
    section = IPAccessSettings(allow=["::FFFF:10.0.0.0/104", "2001:DB8:0::/32"], deny="192.0.2.7/32, 10.9.0.0/16")
    assert section.allow == ("10.0.0.0/8", "2001:db8::/32")
    assert section.deny == ("192.0.2.7", "10.9.0.0/16")


def test_networks_of_the_standard_library_are_taken_for_what_they_say() -> None:
    section = IPAccessSettings.model_validate({"deny": [ip_network("10.0.0.0/8"), ip_network("::1/128")]})
    assert section.deny == ("10.0.0.0/8", "::1")


RULE = {"paths": ["/admin"]}
MISTAKES: dict[str, tuple[dict[str, Any], str, str]] = {
    "host bits": ({"allow": ["10.0.0.1/8"]}, "cidr-host-bits", "write 10.0.0.0/8 for the network, or 10.0.0.1"),
    "host bits in a rule": ({"rules": [{**RULE, "allow": ["::1/64"]}]}, "cidr-host-bits", "write ::/64"),
    "malformed": ({"deny": ["10.0.0.0/33"]}, "cidr-malformed", "like 10.0.0.0/8"),
    "word of another section": ({"deny": ["unix"]}, "cidr-malformed", "or 2001:db8::/32"),
    "asterisk": ({"allow": ["*"]}, "cidr-malformed", "'*' is no address"),
    "zone id": ({"allow": ["fe80::1%eth0"]}, "cidr-malformed", "fe80::1%eth0"),
    "number": ({"allow": [167772161]}, "cidr-malformed", "'167772161'"),
    "twice": ({"allow": ["10.0.0.1", "::ffff:10.0.0.1"]}, "cidr-twice", "allow names 10.0.0.1 twice"),
    "denied twice": ({"deny": ["10.0.0.0/8", "10.0.0.0/8"]}, "cidr-twice", "deny names 10.0.0.0/8 twice"),
    "allowed and denied": (
        {"allow": ["10.0.0.0/8"], "deny": ["10.0.0.0/8"]},
        "ip-access-both",
        "10.0.0.0/8 may come in and may not",
    ),
    "allowed and denied by a rule": (
        {"rules": [{**RULE, "allow": ["::1"], "deny": ["::1"]}]},
        "ip-access-both",
        "::1 may come in",
    ),
    "rule that denies some and allows nobody": (
        {"rules": [{**RULE, "deny": ["10.0.0.1"]}]},
        "ip-access-rule",
        "0.0.0.0/0 and ::/0 for everybody else",
    ),
    "rule without a path": ({"rules": [{"paths": [], "allow": ["::1"]}]}, "too_short", "at least 1"),
    "rule with a path that is none": ({"rules": [{"paths": ["admin"]}]}, "path-pattern", "begins with one slash"),
    "nothing to refuse": ({}, "ip-access-idle", "SECGUARD_IP_ACCESS__DENY"),
    "nothing to refuse, but how": ({"refusal": 404}, "ip-access-idle", "leave the section off"),
    "another status": ({"deny": ["::1"], "refusal": 401}, "literal_error", "403 or 404"),
    "no status": ({"deny": ["::1"], "refusal": "hide"}, "literal_error", "403 or 404"),
    "missing file": ({"deny_files": ["/no/such/file"]}, "network-file", "/no/such/file cannot be read: No such file"),
    "directory": ({"deny_files": ["/"]}, "network-file", "/ cannot be read: it is no regular file"),
    "device that never ends": ({"allow_files": ["/dev/zero"]}, "network-file", "it is no regular file"),
    "path with a NUL": ({"deny_files": ["a\0b"]}, "network-file", "cannot be read: embedded null byte"),
    "path that is none": ({"deny_files": [7]}, "network-file", "7 is no path"),
    "field that does not exist": ({"denied": ["::1"]}, "extra_forbidden", ""),
}


@pytest.mark.parametrize(("fields", "code", "advice"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_stops_the_start(fields: dict[str, Any], code: str, advice: str) -> None:
    with pytest.raises(ValidationError) as caught:
        IPAccessSettings.model_validate(fields)
    (error,) = caught.value.errors()
    assert error["type"] == code
    assert advice in error["msg"]


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValidationError, match="no regular file"):
        IPAccessSettings(deny_files=[tmp_path / "pipe"])


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "bans.txt"
    file.write_text("10.0.0.0/8\noffice\n10.0.0.1/8 # the gate\n")
    with pytest.raises(ValidationError) as caught:
        IPAccessSettings(allow=["x", "10.0.0.0/8"], deny=["10.0.0.1/8"], deny_files=["/no/such", file])
    assert [(error["loc"], error["type"]) for error in caught.value.errors()] == [
        (("allow", 0), "cidr-malformed"),
        (("deny", 0), "cidr-host-bits"),
        (("deny_files", 0), "network-file"),
        (("deny_files", 1), "network-file"),
    ]
    assert caught.value.errors()[-1]["msg"] == (
        f"{file} has lines that are no networks: "
        "line 2: 'office' is no address and no network: write it like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32; "
        "line 3: 10.0.0.1/8 has host bits: write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address"
    )


def test_a_file_that_somebody_took_for_a_list_is_told_of_in_a_few_lines(tmp_path: Path) -> None:
    file = tmp_path / "feed.html"
    file.write_text("<p>Please sign in\x1b[2J</p>\n" * 3000)
    found = problem({"SECGUARD_IP_ACCESS__DENY_FILES": str(file)})
    assert (found.code, found.where) == ("network-file", "SECGUARD_IP_ACCESS__DENY_FILES[0]")
    assert "line 10: " in found.message
    assert "line 11: " not in found.message
    assert found.message.endswith("and 2990 more.")
    assert "\x1b" not in str(found)


def test_variables_name_files_and_rules(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("10.0.0.0/8\n")
    two.write_text("::1\n")
    made = settings(
        {
            "SECGUARD_IP_ACCESS__DENY_FILES": f"{one}, {two}",
            "SECGUARD_IP_ACCESS__RULES": f'[{{"paths": ["/admin"], "allow_files": ["{one}"]}}]',
            "SECGUARD_IP_ACCESS__MODE": "report",
        }
    ).ip_access
    assert made is not None
    assert [str(file) for file in made.deny_files] == [str(one), str(two)]
    assert made.rules[0].allow_files == made.deny_files[:1]
    assert made.mode == "report"


@pytest.mark.parametrize(
    ("env", "code", "where"),
    [
        ({"SECGUARD_IP_ACCESS": "on"}, "ip-access-idle", "SECGUARD_IP_ACCESS"),
        ({"SECGUARD_IP_ACCESS__ALLOW": "10.0.0.1/8,::1"}, "cidr-host-bits", "SECGUARD_IP_ACCESS__ALLOW[0]"),
        (
            {"SECGUARD_IP_ACCESS__RULES": '[{"paths": "/a", "allow": ["::1", "x"]}]'},
            "cidr-malformed",
            "SECGUARD_IP_ACCESS__RULES[0].allow[1]",
        ),
        (
            {"SECGUARD_IP_ACCESS__DENY": "::1", "SECGUARD_IP_ACCESS__REFUSAL": "401"},
            "invalid-value",
            "SECGUARD_IP_ACCESS__REFUSAL",
        ),
        ({"SECGUARD_IP_ACCESS_DENY": "::1"}, "misplaced-underscore", "SECGUARD_IP_ACCESS_DENY"),
    ],
)
def test_mistake_is_told_with_the_variable(env: dict[str, str], code: str, where: str) -> None:
    found = problem(env)
    assert (found.code, found.where) == (code, where)


def test_one_file_may_not_be_allowed_and_denied(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("10.0.0.0/8\n")
    with pytest.raises(ValidationError, match="may come in and may not"):
        IPAccessSettings(allow_files=[file], deny_files=[str(file)])
    with pytest.raises(ValidationError, match=r"deny_files names .* twice"):
        IPAccessSettings(deny_files=[file, str(file)])


def test_one_live_list_may_not_be_allowed_and_denied() -> None:
    live, other = NetworkList(), NetworkList()
    assert IPAccessSettings(allow=[live], deny=[other]).allow == (live,)
    with pytest.raises(ValidationError, match="may come in and may not"):
        IPAccessSettings(allow=[live], deny=[other, live])


@pytest.mark.parametrize("profile", ["web", "strict", "api"])
def test_section_survives_its_own_dump(profile: Profile, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("10.0.0.0/8\n")
    rule = IPAccessRule(paths=["/admin"], allow_files=[file])
    section = IPAccessSettings(deny=["::1", NetworkList(["::2"])], deny_files=[file], rules=[rule])
    assert section.under(profile) == section
    assert '"deny_files":["' in section.model_dump_json()


def test_files_are_equal_where_their_paths_are(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("10.0.0.0/8\n")
    read, again = NetworkFile.read(str(file)), NetworkFile.read(str(file))
    assert read == again
    assert len({read, again}) == 1
    assert read != str(file)
    assert repr(read) == f"NetworkFile({str(file)!r})"


def test_section_is_frozen() -> None:
    section = IPAccessSettings(deny=["::1"])
    with pytest.raises(ValidationError):
        section.deny = ()  # type: ignore[misc]


def test_policies_of_one_section_share_nothing(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("10.0.0.0/8\n")
    section = IPAccessSettings(deny_files=[file])
    assert IPAccessPolicy(section).watch is not IPAccessPolicy(section).watch
