// Pieces of a page that follow by themselves (see bots/admin/live.py): asked for every few seconds
// with htmx while somebody looks. A page that cannot follow any more says so.
"use strict";

(() => {
    const BEHIND = "behind";
    let since = null;

    function isLive(event) {
        return event.detail.elt.hasAttribute("data-live");
    }

    function fallBehind() {
        since = since || new Date();
        if (document.getElementById(BEHIND)) return;
        const notice = document.createElement("p");
        notice.id = BEHIND;
        notice.setAttribute("role", "alert");
        notice.textContent =
            `botadmin does not answer: this page stands still since ${since.toLocaleTimeString()}.`;
        document.body.append(notice);
    }

    function catchUp() {
        since = null;
        document.getElementById(BEHIND)?.remove();
    }

    document.addEventListener("htmx:afterRequest", (event) => {
        if (!isLive(event)) return;
        if (event.detail.successful) catchUp();
        else fallBehind();
    });

    // Somebody who was logged out is sent to the login page by every answer.
    document.addEventListener("htmx:beforeSwap", (event) => {
        if (isLive(event) && !event.detail.xhr.getResponseHeader("X-Mark")) {
            event.detail.shouldSwap = false;
            if (event.detail.xhr.status < 400) window.location.reload();
        }
    });
})();
