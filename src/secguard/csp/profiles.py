"""The policy of each profile. Every line is in docs/explanation/threat-model.md, with what it stops."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from secguard.csp.directives import Directives
from secguard.csp.words import BLOB, DATA, NONCE, NONE, SELF, STRICT_DYNAMIC
from secguard.policy import Profile

PROFILES: Final[Mapping[Profile, Directives]] = MappingProxyType(
    {
        # What a site that exists can bear: whatever it loads from itself goes on working.
        "web": Directives(
            default_src=NONE,
            script_src=[SELF, NONCE],
            style_src=[SELF, NONCE],
            img_src=[SELF, DATA, BLOB],
            media_src=SELF,
            font_src=SELF,
            connect_src=SELF,
            frame_src=SELF,
            worker_src=[SELF, BLOB],
            manifest_src=SELF,
            object_src=NONE,
            base_uri=NONE,
            form_action=SELF,
            frame_ancestors=SELF,
            upgrade_insecure_requests=True,
        ),
        # Google's strict CSP: a script runs because the page named it with its nonce, not because of where it lies.
        "strict": Directives(
            default_src=NONE,
            script_src=[NONCE, STRICT_DYNAMIC],
            style_src=[SELF, NONCE],
            img_src=[SELF, DATA],
            font_src=SELF,
            connect_src=SELF,
            manifest_src=SELF,
            object_src=NONE,
            base_uri=NONE,
            form_action=SELF,
            frame_ancestors=NONE,
            upgrade_insecure_requests=True,
        ),
        # JSON is no page: should a browser be made to render it, nothing happens.
        "api": Directives(default_src=NONE, object_src=NONE, base_uri=NONE, form_action=NONE, frame_ancestors=NONE),
    }
)
