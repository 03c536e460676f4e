"""How many requests are let in, for whom, in one process or in a fleet.

1. A limit counts by address, user, session, header or whatever code says, under a name that no client can choose.
2. Of several limits, all let a request in or none counts it.
3. Counts live in memory, bounded, or in a store that several processes share; without it, the section says what to do.
4. Answers tell how the limits stand, and a refusal says when to come back.
"""

from secguard.rate_limit.grammar import CostFunction, KeyFunction
from secguard.rate_limit.operations import RateLimits
from secguard.rate_limit.policy import RateLimitMiddleware, RateLimitPolicy
from secguard.rate_limit.routes import Limit, limited
from secguard.rate_limit.settings import RateLimitExempt, RateLimitRule, RateLimitSettings
from secguard.store.quota import Standing

__all__ = [
    "CostFunction",
    "KeyFunction",
    "Limit",
    "RateLimitExempt",
    "RateLimitMiddleware",
    "RateLimitPolicy",
    "RateLimitRule",
    "RateLimitSettings",
    "RateLimits",
    "Standing",
    "limited",
]
