"use strict";
// Makes ReDoc, which comes right after, bear the policy, and starts it.
{
    const { nonce } = document.currentScript;

    // It makes style elements of its own, some as soon as it is loaded.
    document.createElement = function (name, options) {
        const element = Document.prototype.createElement.call(this, name, options);
        if (name === "style") element.nonce = nonce;
        return element;
    };

    // It shows its maker's logo from its maker's site, and leaves it out where that cannot be had: React sets the
    // attribute, and the property too.
    Object.defineProperty(HTMLImageElement.prototype, "src", {
        set(address) {
            this.setAttribute("src", address);
        },
    });
    HTMLImageElement.prototype.setAttribute = function (name, value) {
        if (name === "src" && value.startsWith("https://cdn.redoc.ly/")) {
            queueMicrotask(() => this.dispatchEvent(new Event("error")));
        } else {
            Element.prototype.setAttribute.call(this, name, value);
        }
    };

    document.addEventListener("DOMContentLoaded", () => {
        const { url } = JSON.parse(document.getElementById("settings").textContent);
        document.body.style.margin = 0;
        Redoc.init(url, {}, document.getElementById("redoc"));
    });
}
