"use strict";
// Starts Swagger UI with the settings that stand in the page.

document.addEventListener("DOMContentLoaded", () => {
    const { parameters, redirect, oauth } = JSON.parse(document.getElementById("settings").textContent);
    if (redirect) {
        parameters.oauth2RedirectUrl = location.origin + redirect;
        const { pathname } = new URL(parameters.oauth2RedirectUrl);
        new BroadcastChannel(pathname).addEventListener("message", ({ data }) => finishSignIn(data));
    }
    const ui = SwaggerUIBundle({ ...parameters, presets: [SwaggerUIBundle.presets.apis] });
    if (oauth) ui.initOAuth(oauth);
});

// What the oauth2-redirect.html of Swagger UI does through window.opener, which Cross-Origin-Opener-Policy takes away
// from a window that has been at another origin. An answer whose state is not ours is another tab's, or a forgery
// (RFC 6749 section 10.12).
function finishSignIn(answer) {
    const { auth, state, redirectUrl, callback, errCb } = window.swaggerUIRedirectOauth2 ?? {};
    if (!state || answer.state !== state) return;
    delete window.swaggerUIRedirectOauth2;
    const asksForCode = ["accessCode", "authorizationCode", "authorization_code"].includes(auth.schema.get("flow"));
    if (!asksForCode) {
        callback({ auth, token: answer, isValid: true, redirectUrl });
    } else if (answer.code) {
        auth.code = answer.code;
        callback({ auth, redirectUrl });
    } else {
        const { error = "no code", error_description: description = "the provider sent none", error_uri: uri } = answer;
        const message = `${error}: ${description}` + (uri ? ` (${uri})` : "");
        errCb({ authId: auth.name, source: "auth", level: "error", message });
    }
}
