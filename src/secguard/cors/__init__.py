"""CORS: which pages of other origins may read what the app answers. Names only.

The authority is the Fetch standard, section 3.3; sections 4.8 and 4.10 are what browsers do.
"""

from secguard.cors.policy import CORSMiddleware, CORSPolicy
from secguard.cors.settings import CORSFields, CORSRule, CORSSettings

__all__ = ["CORSFields", "CORSMiddleware", "CORSPolicy", "CORSRule", "CORSSettings"]
