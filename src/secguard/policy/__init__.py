"""The vocabulary: Section, Policy, Exchange, Reply, Context.

1. A Policy is pure: it knows no ASGI. It reads an Exchange and answers with a Reply.
2. What it can say before any request, it *declares*; what depends on the path only, it declares per rule.
3. What it *offers* to endpoints, and what they take up, may *revise* that for one answer.
4. A Policy overrides only the hooks it needs. The Guard looks once, at start, and never calls the others.
5. `admit` runs outermost first. The first Reply wins, passes the policies outside the one that gave it, and is sent.
   `done` runs for the policies whose `admit` let the request pass, innermost first, whatever became of it.
"""

from secguard._keys import Keys
from secguard.policy.address import Address, parse_address
from secguard.policy.context import Context, ContextOptions, Reply
from secguard.policy.defence import Looker, Message, Offers, Outcome, Policy, TimeLimit, Verdict
from secguard.policy.exchange import Allowed, Exchange, Scope
from secguard.policy.peer import Direct, Peer, Resolver
from secguard.policy.section import Environment, Mode, Profile, RefusingSection, Section

__all__ = [
    "Address",
    "Allowed",
    "Context",
    "ContextOptions",
    "Direct",
    "Environment",
    "Exchange",
    "Keys",
    "Looker",
    "Message",
    "Mode",
    "Offers",
    "Outcome",
    "Peer",
    "Policy",
    "Profile",
    "RefusingSection",
    "Reply",
    "Resolver",
    "Scope",
    "Section",
    "TimeLimit",
    "Verdict",
    "parse_address",
]
