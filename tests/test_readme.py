"""README.md shows what is really received."""

from tests.readme_headers import README, RECEIVED, rewritten


def test_answers_shown_are_the_answers_received() -> None:
    shown = README.read_text()
    assert [found["name"] for found in RECEIVED.finditer(shown)] == ["before", "after", "https"]
    assert rewritten(shown) == shown, "write them anew with: python -m tests.readme_headers"
