"""Requests: what they must be like to be looked at, and what they may take.

1. Hygiene comes first: what two readers could understand differently never reaches a decision, nor the app.
2. Limits come last, behind everything else that may refuse: on methods, bodies, time and concurrency.
"""

from secguard.requests.hygiene import RequestsPolicy
from secguard.requests.limits import RequestLimitsPolicy
from secguard.requests.middleware import RequestsMiddleware
from secguard.requests.settings import RequestsFields, RequestsRule, RequestsSettings

__all__ = [
    "RequestLimitsPolicy",
    "RequestsFields",
    "RequestsMiddleware",
    "RequestsPolicy",
    "RequestsRule",
    "RequestsSettings",
]
