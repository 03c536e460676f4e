"use strict";
// Hands the provider's answer to the page that waits for it: pages of the same origin hear each other on a channel,
// whatever Cross-Origin-Opener-Policy has cut.

const channel = new BroadcastChannel(location.pathname);
const written = /\b(code|access_token|error)=/.test(location.hash) ? location.hash : location.search;
channel.postMessage(Object.fromEntries(new URLSearchParams(written.slice(1))));
history.replaceState(null, "", location.pathname); // a code or a token has no business in the history
window.close();
