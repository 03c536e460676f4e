"""What Settings says about mistakes: which variable, which value, what to write. One mistake never hides another."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import secguard
from secguard.policy import Section
from secguard.settings import Problem, SettingsError
from tests.settings_helpers import Part, Toy, problem, problems, settings

PACKAGE = Path(secguard.__file__).parent
ROOT = Path(__file__).parent.parent

# A variable and its value; the code of the mistake; words that must be said.
WRONG: list[tuple[str, str, str, str, str]] = [
    ("a mistyped section", "HEDERS__FRAME_OPTIONS", "DENY", "unknown-variable",
     "Did you mean SECGUARD_HEADERS__FRAME_OPTIONS?"),
    ("a mistyped field", "HEADERS__FRAME_OPTION", "DENY", "unknown-variable",
     "Did you mean SECGUARD_HEADERS__FRAME_OPTIONS?"),
    ("both mistyped", "HEDERS__FRAME_OPTION", "DENY", "unknown-variable",
     "Did you mean SECGUARD_HEADERS__FRAME_OPTIONS?"),
    ("a mistyped mapping", "TOY__TABEL__CAMERA", "self", "unknown-variable",
     "Did you mean SECGUARD_TOY__TABLE__CAMERA?"),
    ("a forgotten section", "FRAME_OPTIONS", "DENY", "unknown-variable",
     "Did you mean SECGUARD_HEADERS__FRAME_OPTIONS?"),
    ("a mistyped secrets directory", "SECRET_DIR", "/run", "unknown-variable", "Did you mean SECGUARD_SECRETS_DIR?"),
    ("nothing like it", "ZZZZZZ", "1", "unknown-variable", "The first part is one of: ENVIRONMENT, PROFILE, MODE,"),
    ("a section that is yet to come", "SESSION__STORAGE", "cookie://", "unknown-variable", "no such variable"),
    ("no name at all", "", "1", "unknown-variable", "no such variable"),
    ("a name that ends early", "TOY__", "1", "misplaced-underscore", "write SECGUARD_TOY."),
    ("a name below a text", "MODE__X", "1", "unknown-variable", "SECGUARD_MODE takes no names below it"),
    ("an index below a list", "TOY__RULES__0__PATHS", "/", "unknown-variable",
     "SECGUARD_TOY__RULES takes no names below it"),
    ("a name too deep", "TOY__PARTS__A__DEPTH__X", "1", "unknown-variable",
     "SECGUARD_TOY__PARTS__A__DEPTH takes no names below it"),
    ("a mapping's name left out", "TOY__TABLES__", "1", "unknown-variable", "Did you mean SECGUARD_TOY__TABLE?"),

    ("one underscore", "TOY_COUNT", "1", "misplaced-underscore", "write SECGUARD_TOY__COUNT."),
    ("one underscore of two", "TOY__PART_DEPTH", "1", "misplaced-underscore", "write SECGUARD_TOY__PART__DEPTH."),
    ("one underscore before a mapping's name", "TOY_TABLE_X_Y", "1", "misplaced-underscore",
     "write SECGUARD_TOY__TABLE__X_Y."),
    ("three underscores", "TOY___COUNT", "1", "misplaced-underscore", "write SECGUARD_TOY__COUNT."),
    ("two underscores after the prefix", "_MODE", "report", "misplaced-underscore", "write SECGUARD_MODE."),
    ("two underscores in a mapping's name", "TOY__TABLE__X__Y", "1", "misplaced-underscore",
     "write SECGUARD_TOY__TABLE__X_Y."),
    ("two underscores in a name", "TOY__MAX__AGE", "1", "misplaced-underscore", "write SECGUARD_TOY__MAX_AGE."),
    ("two underscores in the secrets directory", "SECRETS__DIR", "/run", "misplaced-underscore",
     "write SECGUARD_SECRETS_DIR."),

    ("nothing", "TOY__COUNT", "", "empty-value", "Write a value, or take the variable away."),
    ("blanks", "TOY__FRAME", "  ", "empty-value", "Write off, or take"),
    ("an empty list", "TOY__NAMES", "", "empty-value", "Write [] for an empty list, or take"),
    ("an empty secrets directory", "SECRETS_DIR", "", "empty-value", "Write the path of a directory"),
    ("an empty item", "TOY__NAMES", "a,,b", "empty-item", "exactly one comma"),
    ("a comma at the end", "TOY__NAMES", "a,", "empty-item", "exactly one comma"),

    ("no JSON", "TOY__PART", "{count: 5}", "bad-json", "at character 2"),
    ("half a list", "TOY__NAMES", '["a"', "bad-json", "at character 5"),
    ("no number in JSON", "TOY__PART", '{"depth": NaN}', "bad-json", "NaN is no number"),
    ("JSON without an end", "TOY__NAMES", "[" * 100_000, "bad-json", "nested too deeply"),
    ("a number without an end", "TOY__SIZES", f"[1{'0' * 5000}]", "bad-json", "thousands of digits"),
    ("a name twice in JSON", "TOY__LIMITS", '{"count": 1, "count": 2}', "set-twice", "'count' twice"),
    ("a field that is gone", "TOY__OLD_COUNT", "1", "unknown-variable", "OLD_COUNT is obsolete; use count."),
    ("a field that is gone, in JSON", "TOY", '{"old_count": 1}', "unknown-field", "old_count is obsolete; use count."),
    ("an unknown field in JSON", "TOY", '{"cuont": 1}', "unknown-field", "Did you mean count?"),
    ("an unknown field in a part in JSON", "TOY", '{"part": {"dept": 1}}', "unknown-field", "Did you mean depth?"),
    ("an unknown field in a rule", "TOY__RULES", '[{"paths": [], "cuont": 1}]', "unknown-field", "Did you mean count?"),
    ("an unknown field like none", "TOY__PART", '{"zzz": 1}', "unknown-field", "There are: depth, label, deep."),
    ("a missing field in a rule", "TOY__RULES", '[{"count": 1}]', "missing-value", "It must be set."),
    ("a missing field", "SPARE__COLOUR", "red", "missing-value", "It must be set."),
    ("a missing field of a section that is on", "SPARE", "on", "missing-value", "It must be set."),

    ("a choice", "MODE", "reprot", "invalid-value", "Write one of: enforce, report."),
    ("a choice that off is none of", "MODE", "off", "invalid-value", "Write one of: enforce, report."),
    ("a choice that may be absent", "TOY__FRAME", "NO", "invalid-value", "Write one of: DENY, SAME, off."),
    ("a choice that may be absent in JSON", "TOY", '{"frame": "NO"}', "invalid-value",
     "Write one of: DENY, SAME, null."),
    ("a truth", "TOY__FLAG", "maybe", "invalid-value", "Write true or false."),
    ("a truth that may be absent", "TOY__MAYBE", "maybe", "invalid-value", "Write true or false or off."),
    ("a number", "TOY__COUNT", "many", "invalid-value", "Write a whole number."),
    ("a number too small", "TOY__COUNT", "-1", "invalid-value", "Write a number from 0 up."),
    ("a number of seconds", "TOY__MAX_AGE", "1h", "invalid-value", "Write a whole number of seconds."),
    ("a number with a fraction", "TOY__COUNT", "1.5", "invalid-value", "Write a whole number."),
    ("a ratio", "TOY__RATIO", "0", "invalid-value", "Write a number above 0."),
    ("a text too long", "TOY__LABEL", "x" * 41, "invalid-value", "Write at most 40 characters."),
    ("a number in a list", "TOY__SIZES", "1,x", "invalid-value", "Write a whole number."),
    ("a union", "TOY__EITHER", "some", "invalid-value", "Write a whole number or all."),
    ("what a validator refuses", "TOY__STORAGE", "memory", "invalid-value", "memory has no scheme."),
    ("truth for a section", "TOY", "true", "invalid-value",
     "Write on, off, a JSON object, or one variable for each field (SECGUARD_TOY__MODE=…)."),
    ("a list for a part", "TOY__PART", "[1]", "invalid-value", "Write a mapping or Part or off."),
    ("text for a mapping", "TOY__LIMITS", "a", "invalid-value",
     "Write off, a JSON object, or one variable for each name (SECGUARD_TOY__LIMITS__NAME=…)."),
    ("off for a list that cannot be", "TOY__RULES", "off", "invalid-value", "Write a JSON list of objects."),
    ("an object for a list", "TOY__NAMES", '{"a": 1}', "invalid-value", "Write items with commas between them."),
    ("text for a list in JSON", "TOY", '{"names": "a"}', "invalid-value", "Write a list."),
    ("a number in a mapping", "TOY__LIMITS__A", "x", "invalid-value", "Write a whole number."),
    ("what a section's own check refuses", "TOY__PART__DEEP", "true", "toy-shallow",
     "deep needs a depth of 10 or more."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "code", "said"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_wrong_variable_is_named_with_its_value_and_a_remedy(name: str, text: str, code: str, said: str) -> None:
    variable = f"SECGUARD_{name}"
    found = problem({variable: text})
    assert found.code == code
    assert said in found.message
    if code == "missing-value":
        assert found.where in {"SECGUARD_SPARE__SIZE", "SECGUARD_TOY__RULES[0].paths"}
        return
    assert re.fullmatch(rf"{re.escape(variable)}([.\[].*)?", found.where)
    assert found.value
    if found.where == variable and len(text) < 100 and "SECRET" not in name:
        assert found.value == repr(text)

    line = f"{variable}='{text}'\n"
    assert problem(dotenv=line).where == f"{found.where} in .env"
    if text:
        hidden = problem(secrets={variable: text})
        assert hidden.where == f"{found.where} in secrets"
        assert hidden.value == "'********'" or "DIR" in name or not text.strip()


# A keyword and its value; where the mistake is said to stand; its code; words that must be said.
WRONG_IN_CODE: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("a mistyped section", {"heders": None}, "Settings(heders=...)", "unknown-field", "Did you mean headers?"),
    ("a mistyped field", {"toy": {"cuont": 1}}, "Settings(toy=...) field cuont", "unknown-field",
     "Did you mean count?"),
    ("a mistyped field with a hyphen", {"toy": {"max-agee": 1}}, "Settings(toy=...) field max-agee", "unknown-field",
     "Did you mean max_age?"),
    ("a mistyped directive", {"csp": {"directives": {"img-srcs": ["x"]}}},
     "Settings(csp=...) field directives.img-srcs", "unknown-field", "Did you mean img_src?"),
    ("a directive in capitals", {"csp": {"directives": {"Script-Src": ["x"]}}},
     "Settings(csp=...) field directives.Script-Src", "unknown-field", "Did you mean script_src?"),
    ("an obsolete directive", {"csp": {"directives": {"plugin-types": ["x"]}}},
     "Settings(csp=...) field directives.plugin-types", "unknown-field", "use object_src."),
    ("a hyphen, and a wrong value", {"csp": {"directives": {"img-src": ["x y"]}}},
     "Settings(csp=...) field directives.img-src", "csp-source", "has a blank"),
    ("pydantic-settings' own keywords", {"_env_prefix": "X"}, "Settings(_env_prefix=...)", "unknown-field",
     "There are:"),
    ("a value", {"toy": {"part": {"depth": "x"}}}, "Settings(toy=...) field part.depth", "invalid-value",
     "a whole number"),
    ("a choice", {"toy": {"frame": 1}}, "Settings(toy=...) field frame", "invalid-value", "one of: DENY, SAME, None."),
    ("a choice at the top", {"mode": "x"}, "Settings(mode=...)", "invalid-value", "one of: enforce, report."),
    ("a profile that is no text", {"profile": ["web"]}, "Settings(profile=...)", "invalid-value",
     "one of: web, strict, api."),
    ("truth for a section", {"toy": True}, "Settings(toy=...)", "invalid-value", "Write a mapping or Toy or None."),
    ("another section", {"toy": Part()}, "Settings(toy=...)", "invalid-value", "Write a mapping or Toy or None."),
    ("text for a list", {"toy": {"names": "a"}}, "Settings(toy=...) field names", "invalid-value", "Write a list."),
    ("an item", {"toy": {"sizes": [1, "x"]}}, "Settings(toy=...) field sizes[1]", "invalid-value", "a whole number"),
    ("no text", {"toy": {"label": 1}}, "Settings(toy=...) field label", "invalid-value", "Write text."),
    ("a name that is no text", {"toy": {"table": {1: []}}}, "Settings(toy=...) field table.1", "invalid-value",
     "Write text."),
    ("a part of the wrong kind", {"toy": {"parts": {"A": 1}}}, "Settings(toy=...) field parts.A", "invalid-value",
     "a mapping or Part"),
    ("two names that are one", {"toy": {"table": {"X_Y": [], "x-y": []}}},
     "Settings(toy=...) field table.X_Y and Settings(toy=...) field table.x-y", "set-twice",
     "Keep one"),
    ("two that disagree", {"toy": {"part": {"deep": True, "depth": 2}}},
     "Settings(toy=...) field part.deep, Settings(toy=...) field part.depth", "toy-shallow",
     "deep needs"),
    ("a number without an end", {"toy": {"count": "1" * 5000}}, "Settings(toy=...) field count", "invalid-value",
     "a smaller whole number"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "where", "kind", "said"), [r[1:] for r in WRONG_IN_CODE], ids=[r[0] for r in WRONG_IN_CODE]
)
def test_a_wrong_keyword_is_named(code: dict[str, Any], where: str, kind: str, said: str) -> None:
    found = problem(**code)
    assert (found.where, found.code) == (where, kind)
    assert said in found.message


def test_an_unknown_name_is_told_as_it_was_written_with_its_value() -> None:
    assert problem(csp={"directives": {"plugin-types": ["x"]}}).value == "['x']"
    found = problem({"SECGUARD_CSP": '{"directives": {"plugin-types": ["x"]}}'})
    assert (found.where, found.value) == ("SECGUARD_CSP.directives.plugin-types", "['x']")


# ------------------------------------------------------------------------------------------------- contradictions


def test_off_beside_set_names_both() -> None:
    found = problem({"SECGUARD_TOY": "off", "SECGUARD_TOY__COUNT": "1", "SECGUARD_TOY__PART__DEPTH": "1"})
    assert (found.code, found.where, found.value) == ("off-and-set", "SECGUARD_TOY", "'off'")
    assert "what SECGUARD_TOY__COUNT, SECGUARD_TOY__PART__DEPTH sets" in found.message


@pytest.mark.parametrize(
    ("env", "dotenv", "secrets", "where", "set_by"),
    [
        ({"SECGUARD_TOY": "off"}, "SECGUARD_TOY__COUNT=1", {}, "SECGUARD_TOY", "SECGUARD_TOY__COUNT in .env"),
        ({"SECGUARD_TOY__COUNT": "1"}, "SECGUARD_TOY=off", {}, "SECGUARD_TOY in .env", "SECGUARD_TOY__COUNT"),
        ({"SECGUARD_TOY": "off"}, "", {"SECGUARD_TOY__TOKEN": "x"}, "SECGUARD_TOY", "SECGUARD_TOY__TOKEN in secrets"),
        ({"SECGUARD_TOY__PART": "off"}, 'SECGUARD_TOY={"part": {"depth": 1}}', {},
         "SECGUARD_TOY__PART", "SECGUARD_TOY in .env"),
        ({"SECGUARD_TOY__TABLE": "off"}, "", {}, "SECGUARD_TOY__TABLE", ""),
        ({"SECGUARD_TOY__LIMITS": "off", "SECGUARD_TOY__LIMITS__A": "1"}, "", {},
         "SECGUARD_TOY__LIMITS", "SECGUARD_TOY__LIMITS__A"),
    ],
)  # fmt: skip
def test_off_and_set_in_different_places(
    env: dict[str, str], dotenv: str, secrets: dict[str, str], where: str, set_by: str
) -> None:
    found = problem(env, dotenv, secrets)
    assert found.where == where
    assert set_by in found.message


def test_off_and_set_does_not_hide_what_is_wrong_below() -> None:
    found = problems({"SECGUARD_TOY": "off", "SECGUARD_TOY__COUNT": "x"})
    assert [told.code for told in found] == ["off-and-set", "invalid-value"]


def test_off_in_code_contradicts_nothing() -> None:
    assert settings({"SECGUARD_TOY__COUNT": "1"}, toy=None).toy is None


def test_names_that_differ_in_case_are_one_variable() -> None:
    found = problem({"SECGUARD_MODE": "report", "secguard_mode": "enforce"})
    assert (found.code, found.where) == ("set-twice", "SECGUARD_MODE and secguard_mode")
    assert "Both set mode." in found.message
    assert problem({"SECGUARD_SECRETS_DIR": "a", "secguard_secrets_dir": "b"}, _secrets_dir=[]).code == "set-twice"
    assert settings({"SECGUARD_MODE": "report"}, "secguard_mode=enforce").mode == "report"


def test_json_beside_a_variable_for_the_same_leaf() -> None:
    found = problem({"SECGUARD_TOY": '{"part": {"depth": 1}}', "SECGUARD_TOY__PART__DEPTH": "2"})
    assert (found.code, found.where) == ("set-twice", "SECGUARD_TOY and SECGUARD_TOY__PART__DEPTH")
    assert "Both set toy.part.depth." in found.message


def test_a_line_that_stands_twice_in_dotenv() -> None:
    found = problem(dotenv="SECGUARD_MODE=report\nSECGUARD_MODE=enforce\n")
    assert (found.code, found.where, found.message) == (
        "set-twice",
        "SECGUARD_MODE in .env",
        "It stands there 2 times. Keep one of them.",
    )


# ---------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    "line", ["SECGUARD_MODE", "SECGUARD_MODE='report", "SECGUARD_MODE: report", "export SECGUARD_MODE"]
)
def test_a_line_of_dotenv_that_cannot_be_read_is_not_skipped(line: str) -> None:
    found = problem(dotenv=f"A=1\n{line}\nB=2\n")
    assert (found.code, found.where, found.value) == ("bad-line", "SECGUARD_MODE in .env", None)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "SECGUARD_MODE").mkdir()
    (tmp_path / "SECGUARD_TOY__TOKEN").write_bytes(b"\xff")
    missing = str(tmp_path / "missing")
    rows = {
        "a dotenv that is not UTF-8": problem(dotenv=b"SECGUARD_MODE=\xff"),
        "a dotenv that was named": problem(_env_file=missing),
        "a secrets directory": problem(_secrets_dir=missing),
        "a secrets directory named by a variable": problem({"SECGUARD_SECRETS_DIR": missing}),
    }
    assert {found.code for found in rows.values()} == {"unreadable-file"}
    assert [found.where for found in rows.values()] == [
        "Settings(_env_file=...)",
        "Settings(_env_file=...)",
        "Settings(_secrets_dir=...)",
        "SECGUARD_SECRETS_DIR",
    ]
    assert rows["a dotenv that is not UTF-8"].message == ".env cannot be read: it is not UTF-8."
    assert problem(_env_file="~nobody-here/.env").code == "unreadable-file"
    assert problem(_secrets_dir="a\0b").code == "unreadable-file"
    os.mkfifo(tmp_path / "pipe")
    assert "it is a pipe" in problem(_env_file=tmp_path / "pipe").message
    assert rows["a secrets directory"].message == f"{missing} cannot be read: no such file or directory."
    assert [(found.code, found.where) for found in problems(_secrets_dir=tmp_path)] == [
        ("unreadable-file", f"SECGUARD_MODE in {tmp_path}"),
        ("unreadable-file", f"SECGUARD_TOY__TOKEN in {tmp_path}"),
    ]


# -------------------------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    ("env", "code"),
    [
        ({"SECGUARD_TOY__PASSWORD": ""}, {}),
        ({"SECGUARD_TOY__PINS": "hunter2,,b"}, {}),
        ({"SECGUARD_TOY__PINS": '["hunter2"'}, {}),
        ({"SECGUARD_TOY__TOKEN": "short"}, {}),
        ({"SECGUARD_TOY__PASWORD": "hunter2"}, {}),
        ({"SECGUARD_SECRET_KEY": "hunter2"}, {}),
        ({"SECGUARD_API_TOKEN": "hunter2"}, {}),
        ({"SECGUARD_TOY": '{"password": "hunter2"'}, {}),
        ({"SECGUARD_TOY": '["hunter2"]'}, {}),
        ({"SECGUARD_TOY__PART": '{"secret": "hunter2"'}, {}),
        ({"SECGUARD_TOY__PART": '{"secret": "hunter2"}'}, {}),
        ({"SECGUARD_TOY": '{"pins": [{"a": "hunter2"}]}'}, {}),
        ({"SECGUARD_TOY__EITHER": "redis://user:hunter2@host/0"}, {}),
        ({"SECGUARD_TOYS__STORAGE": "redis://user:hunt@er2:hunter2@host/0"}, {}),
        ({}, {"toy": {"password": ["hunter2"]}}),
        ({}, {"toy": {"token": "short"}}),
        ({}, {"toys": {"password": "hunter2"}}),
        ({}, {"toy": [{"password": "hunter2"}]}),
        ({}, {"password": "hunter2"}),
        ({}, {"toy": {"pasword": "hunter2"}}),
    ],
)
def test_secrets_are_not_shown(env: dict[str, str], code: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(env, **code)
    assert not re.search("hunter2|short ", f"{caught.value} {caught.value!r} {caught.value.problems}")
    assert caught.value.__context__ is None
    assert "********" in str(caught.value) or "SECGUARD_TOY__PASSWORD" in env


def test_sections_that_quote_secrets_give_none_away() -> None:
    assert problem({"SECGUARD_TOY__TOKEN": "short"}).message == "******** is too ********."
    assert (
        problem({"SECGUARD_TOY__TOKEN": "a'b\"c\\d", "SECGUARD_TOY__LABEL": "x"}).message
        == "label goes with no ********."
    )
    assert problem({"SECGUARD_TOY__TOKEN": "in", "SECGUARD_TOY__LABEL": "x"}).message == "label goes with no in."


def test_what_is_no_secret_is_shown() -> None:
    assert problem({"SECGUARD_TOY": "hunter2"}).value == "'hunter2'"
    assert problem({"SECGUARD_CROS__ALLOW_CREDENTIALS": "true"}).value == "'true'"


# -------------------------------------------------------------------------------------------------------- message


def test_odd_names_and_values_stay_on_their_line() -> None:
    found = problem({"SECGUARD_\n\x1b[31m": "a\nb\udcff"})
    assert str(found).count("\n") == 1
    assert "\x1b" not in str(found)
    str(found).encode()


def test_two_that_disagree_in_json_are_named_within_it() -> None:
    found = problem({"SECGUARD_TOY": '{"part": {"deep": true, "depth": 2}}'})
    assert (found.where, found.value) == ("SECGUARD_TOY.part.deep, SECGUARD_TOY.part.depth", "True, 2")


def test_an_item_of_a_list_is_shown_alone() -> None:
    found = problem({"SECGUARD_TOY__SIZES": "1,x"})
    assert (found.where, found.value) == ("SECGUARD_TOY__SIZES[1]", "'x'")


def test_long_values_are_cut() -> None:
    found = problem({"SECGUARD_MODE": "x" * 10_000})
    assert found.value == "'" + "x" * 199 + "…"
    assert len(str(problem({"SECGUARD_" + "X" * 10_000: "1"}))) < 1000


def test_deep_values_are_cut() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert "Ellipsis" in str(problem(toy={"label": deep}).value)


def test_values_without_a_repr_are_shown_by_their_type() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

        __str__ = __repr__

    assert problem(toy={"label": Odd()}).value == "<Odd>"
    assert problem(toy={"password": Odd()}).value == "'********'"


def test_what_follows_from_a_mistake_is_not_told() -> None:
    assert problem({"SECGUARD_SPARE": "on", "SECGUARD_SPARE__SIZE": ""}).code == "empty-value"
    assert problem({"SECGUARD_TOY__PART__DEEP": "true", "SECGUARD_TOY__PART__DEPTH": ""}).code == "empty-value"


def test_profile_and_instance_that_disagree_are_told() -> None:
    class Fussy(Toy):
        count: int = 3

        def under(self, profile: Any) -> Any:
            return super().under(profile).model_validate({"count": "x"})

    found = problem(profile="strict", toy=Fussy())
    assert (found.code, found.where) == ("invalid-value", "Settings(toy=...) field count")


FIVE = {
    "SECGUARD_HEDERS__FRAME_OPTIONS": "DENY",
    "SECGUARD_HOSTS_ALLOWED": "example.com",
    "SECGUARD_HTTPS": "{redirect: off}",
    "SECGUARD_MODE": "reprot",
    "SECGUARD_PROXIES__TRUSTED": "10.0.0.1/8",
}


def test_five_mistakes_in_a_real_environment_are_one_message(tmp_path: Path) -> None:
    program = "from secguard.settings import Settings; Settings()"
    ran = subprocess.run(
        [sys.executable, "-O", "-c", program],  # what asserts say is gone then
        env={**os.environ, **FIVE},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stdout == ""
    message = ran.stderr[ran.stderr.index("secguard found") :]
    assert (
        message
        == """\
secguard found 5 mistakes in its settings:

  1. SECGUARD_HEDERS__FRAME_OPTIONS = 'DENY'
     There is no such variable. Did you mean SECGUARD_HEADERS__FRAME_OPTIONS?   [unknown-variable]

  2. SECGUARD_HOSTS_ALLOWED = 'example.com'
     Two underscores stand between the parts of a name: write SECGUARD_HOSTS__ALLOWED.   [misplaced-underscore]

  3. SECGUARD_HTTPS = '{redirect: off}'
     It is not JSON: expecting property name enclosed in double quotes at character 2. \
Names and texts stand in "".   [bad-json]

  4. SECGUARD_MODE = 'reprot'
     Write one of: enforce, report.   [invalid-value]

  5. SECGUARD_PROXIES__TRUSTED[0] = '10.0.0.1/8'
     10.0.0.1/8 has host bits: write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address.   [cidr-host-bits]

Each word in [brackets] is a heading of docs/reference/errors.md, with an example.
"""
    )
    assert "Traceback" in ran.stderr
    assert "During handling" not in ran.stderr


def test_one_mistake_is_one() -> None:
    assert "found 1 mistake in" in str(SettingsError([Problem("a", "b", None, "c")]))


# ---------------------------------------------------------------------------------------------------------- codes


def codes() -> set[str]:
    """Return every code that the sources can raise: what sections raise, and every such word in our own room."""
    found: set[str] = set()
    for source in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "PydanticCustomError":
                assert isinstance(node.args[0], ast.Constant), f"{source.name}, line {node.lineno}: a code is a literal"
                found.add(ast.literal_eval(node.args[0]))
            if isinstance(node, ast.Constant) and source.parent.name == "settings":
                word = str(node.value)
                found |= {word} if re.fullmatch(r"([a-z]+-)+[a-z]+", word) else set()
    return found


def test_every_code_is_a_heading_and_every_heading_a_code() -> None:
    page = ROOT.joinpath("docs/reference/errors.md").read_text()
    assert set(re.findall(r"^### (\S+)$", page, re.MULTILINE)) == codes()


def test_sections_raise_codes_that_no_pydantic_error_has() -> None:
    assert all("_" not in code for code in codes())


def test_the_environment_is_closed_to_unknown_fields_of_every_section() -> None:
    assert all(section.model_config.get("extra") == "forbid" for section in Section.__subclasses__())


def examples() -> list[tuple[str, str, str | None]]:
    """Return each heading of the page with its example of what is wrong, and of what is right where there is one."""
    page = ROOT.joinpath("docs/reference/errors.md").read_text()
    sections = re.findall(r"^### (\S+)\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    blocks = [(code, re.findall(r"```ini\n(.*?)```", text, re.DOTALL)) for code, text in sections]
    return [(code, wrong, right[0] if right else None) for code, (wrong, *right) in blocks]


@pytest.mark.parametrize(("code", "wrong", "right"), examples(), ids=[row[0] for row in examples()])
def test_every_code_has_an_example_that_raises_it(code: str, wrong: str, right: str | None) -> None:
    assert problem(dotenv=wrong).code == code
    if right is not None:
        settings(dotenv=right)
