"""Settings: every section in one frozen object, read strictly from code, the environment, `.env` and secrets.

1. Code wins over the environment, the environment over `.env`, `.env` over secrets, those over the profile, and that
   over the defaults. The comparison is made for each leaf, such as `headers.hsts.max_age`, and its origin is kept.
2. Every variable whose name begins with `SECGUARD_` is ours: one that means nothing is a mistake. No other is read.
3. A mistake stops the start. All of them are told at once, each with its variable, its value and what to write.
"""

from secguard.settings.errors import Problem, SettingsError
from secguard.settings.model import Settings
from secguard.settings.sources import Origin

__all__ = ["Origin", "Problem", "Settings", "SettingsError"]
