"""Which hooks of which policies are called, and in which order what makes the headers is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from secguard._http import Declared, compile_lines
from secguard.guard.traffic import Hook, Steps
from secguard.policy import Policy


def overrides(policy: Policy, *names: str) -> bool:
    """Whether a policy has any of these hooks, and a use for it."""
    needed = (hook for hook in names if hook not in policy.unneeded)
    return any(getattr(type(policy), hook) is not getattr(Policy, hook) for hook in needed)


def hooks(policies: Sequence[Policy], hook: str) -> tuple[tuple[int, Callable[..., Any]], ...]:
    """Return this hook of every policy that has it, each with the policy's place."""
    return tuple((at, getattr(policy, hook)) for at, policy in enumerate(policies) if overrides(policy, hook))


def steps(policies: Sequence[Policy], lines: Sequence[Sequence[Declared]], *, revising: bool) -> Steps:
    """Order what makes the headers, innermost policy first. Lines declared between two hooks are set in one go."""
    stretches: list[list[Declared]] = [[]]
    ordered: list[Hook] = []
    last: list[Hook] = []
    for at in reversed(range(len(policies))):
        policy = policies[at]
        revises = revising and overrides(policy, "revise")
        if not revises:
            stretches[-1] += lines[at]
        own = [policy.revise] * revises + [policy.finish] * overrides(policy, "finish")
        finishing = [other for other in range(at + 1) if overrides(policies[other], "finish")]
        if not revising and all(_may_be_last(policies, lines, other) for other in finishing):
            last += own  # whether before or after those lines makes no difference, but for the time it takes
            continue
        ordered += own
        stretches += [[] for _ in own]
    merges = [compile_lines(declared) if declared else None for declared in stretches[1:]]
    return compile_lines(stretches[0]), (*zip(ordered, merges, strict=True), *((hook, None) for hook in last))


def _may_be_last(policies: Sequence[Policy], lines: Sequence[Sequence[Declared]], at: int) -> bool:
    """Whether nothing that is declared further out has to wait for what this policy's `finish` sets."""
    names = policies[at].sets
    return names is not None and names.isdisjoint(line.name for declared in lines[:at] for line in declared)
