"""The Guard: the ASGI application that wraps the user's, and the only code here that speaks ASGI.

    scope -> Exchange -> admit, outermost policy first -> the app -> declared lines + finish, innermost first -> send
                           |  first Reply wins                         ^
                           +--- the Reply still passes every policy outside it

1. All thinking is done at start: hooks that no policy overrides are not called, and header lines that no request can
   change are one tuple of byte pairs. A request only selects.
2. Every message of the app passes unchanged, in order, once. Only a message that starts a response, or accepts a
   websocket, is replaced by a fresh one with a fresh list of headers.
3. Whatever leaves is hardened: the app's answers, our Replies, and the 500 for an app that raised before it answered.
4. What policies offer on `request.state` is made when an endpoint reads it. Only then, and for a 304, which refreshes
   what is stored, do they revise the lines they declared.
5. Nothing of a request outlives it. Between requests and between Guards, only what is immutable is shared.
"""

from secguard.guard.core import Configured, Guard
from secguard.guard.mount import protect

__all__ = ["Configured", "Guard", "protect"]
