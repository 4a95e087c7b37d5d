// Pieces of a page that follow by themselves (see bots/admin/live.py): asked for every few seconds
// with htmx while somebody looks. Whoever is in the middle of something in a piece stays there when
// it is renewed; what changed is read out where a page marks it with data-news; a page that cannot
// follow any more says so.
"use strict";

(() => {
    // What can have the focus.
    const REACHED = "a[href], button, input, select, textarea, summary, [tabindex]";

    // Where one is in a piece -----------------------------------------------------------------------

    // What tells an element from its neighbours, also in what comes instead of it.
    function address(element) {
        const leadsTo = element.getAttribute("href") || element.form?.getAttribute("action") || "";
        return [element.tagName, element.getAttribute("name"), leadsTo].join(" ");
    }

    function below(home, like) {
        return [...home.querySelectorAll(REACHED)].filter((one) => address(one) === like);
    }

    // An element as the nearest one with an id knows it: that is there again after a renewal.
    function placeOf(element) {
        const home = element.closest("[id]");
        const like = address(element);
        return { element, home: home?.id, like, nth: home ? below(home, like).indexOf(element) : 0 };
    }

    function goBackTo({ element, home, like, nth }) {
        // Only what was lost is found again: a page may have moved the focus on purpose.
        if (element.isConnected || document.activeElement !== document.body) return;
        const place = document.getElementById(home);
        if (!place) return;
        const found = element.id === home ? place : below(place, like)[nth];
        if (found) {
            found.focus({ preventScroll: true });
            return;
        }
        // It is gone: Tab goes on from here, not from the top of the page.
        place.tabIndex = -1;
        place.focus({ preventScroll: true });
    }

    function folds(piece) {
        return [...piece.querySelectorAll("details[id]")];
    }

    function newsIn(piece) {
        const marked = [...piece.querySelectorAll("[data-news]")];
        return marked.map((one) => one.textContent.trim().replace(/\s+/g, " "));
    }

    // Renewing --------------------------------------------------------------------------------------

    const before = new WeakMap(); // request → what was there
    let aloud = null;

    function isLive(element) {
        return element.hasAttribute("data-live");
    }

    document.addEventListener("htmx:beforeSwap", (event) => {
        const { elt, target, xhr } = event.detail;
        // Somebody who was logged out is sent to the login page by every answer.
        if (isLive(elt) && !xhr.getResponseHeader("X-Mark")) {
            event.detail.shouldSwap = false;
            if (xhr.status < 400) window.location.reload();
            return;
        }
        before.set(xhr, {
            name: target.id,
            place: placeOf(document.activeElement),
            folds: new Map(folds(target).map((one) => [one.id, one.open])),
            news: newsIn(target),
        });
    });

    document.addEventListener("htmx:afterSettle", (event) => {
        const was = before.get(event.detail.xhr);
        const piece = was && document.getElementById(was.name);
        if (!piece) return;
        before.delete(event.detail.xhr);
        for (const one of folds(piece)) one.open = was.folds.get(one.id) ?? one.open;
        goBackTo(was.place);
        const news = newsIn(piece).filter((one) => one && !was.news.includes(one));
        if (news.length) aloud.textContent = news.join(" ");
    });

    // Screen readers only read out what changes in an element that was there before.
    document.addEventListener("DOMContentLoaded", () => {
        aloud = document.createElement("p");
        aloud.className = "unseen";
        aloud.setAttribute("role", "status");
        document.body.append(aloud);
    });

    // Standing still --------------------------------------------------------------------------------

    const still = new Map(); // name of a piece → what is wrong with it
    let since = null;
    let notice = null;

    function tell() {
        const [said] = still.values();
        if (!said) {
            notice?.remove();
            since = notice = null;
            return;
        }
        if (!notice) {
            notice = document.createElement("p");
            notice.id = "behind";
            notice.setAttribute("role", "alert");
            document.body.append(notice);
        }
        if (notice.textContent !== said) notice.textContent = said;
    }

    function whatIsWrong(status) {
        if (status === 403) return "You may not see this any more. Reload the page.";
        if (status === 404) return "This is not there any more. Reload the page.";
        if (status >= 400 && status < 500) {
            return `botadmin refused to bring this page up to date (${status}). Reload the page.`;
        }
        since = since || new Date().toLocaleTimeString();
        return `botadmin does not answer: this page stands still since ${since}.`;
    }

    // Told of the piece that asked, or of its parent when the piece was replaced meanwhile.
    document.addEventListener("htmx:afterRequest", (event) => {
        const { requestConfig, successful, xhr } = event.detail;
        const piece = requestConfig.elt;
        if (!isLive(piece)) return;
        if (successful) still.delete(piece.id);
        else still.set(piece.id, whatIsWrong(xhr.status));
        tell();
    });
})();
