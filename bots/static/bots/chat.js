// The chat page. What it shows comes from the server as HTML; this brings it up to date in place:
// messages that changed are replaced, new ones appended, and whoever reads further up stays there.
"use strict";

(() => {
    const NEAR = 60; // pixels from the bottom that still count as being there
    const PREVIEW_MS = 400;
    const TOLD_MS = 8000;
    const PICTURE_TRIES = 2;
    const PICTURE_WAIT_MS = 3000;

    const scrollOf = (log) => log.closest("[data-scroll]");
    const logs = () => document.querySelectorAll("[data-log]");
    const newsOf = (log) => document.querySelector(`[data-newer="${log.id}"]`);

    // Where one is in a conversation ----------------------------------------------------------

    function isAtBottom(log) {
        const box = scrollOf(log);
        return box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
    }

    function goToBottom(log) {
        const box = scrollOf(log);
        box.scrollTop = box.scrollHeight;
        newsOf(log).hidden = true;
    }

    // Whoever is at the bottom stays there, also when a picture arrives or the form grows.
    function holdBottom(log) {
        const box = scrollOf(log);
        let isThere = true;
        box.addEventListener("scroll", () => {
            isThere = isAtBottom(log);
            if (isThere) newsOf(log).hidden = true;
        });
        const watch = new ResizeObserver(() => { if (isThere) goToBottom(log); });
        watch.observe(log);
        watch.observe(box);
    }

    // What one reads stays where it is while `change` happens above or below it.
    function stay(log, change) {
        const box = scrollOf(log);
        const top = box.getBoundingClientRect().top;
        const shown = [...log.children].find((e) => e.getBoundingClientRect().bottom > top);
        const before = shown?.getBoundingClientRect().top;
        change();
        // The room and its thread may both show it, with the same id.
        const again = () => log.querySelector(`#${CSS.escape(shown.id)}`);
        const now = shown && (shown.isConnected ? shown : again());
        if (now) box.scrollTop += now.getBoundingClientRect().top - before;
    }

    function sayNothing(log) {
        const isEmpty = !log.querySelector("article");
        scrollOf(log).querySelector("[data-nothing]").hidden = !isEmpty;
    }

    // Bringing it up to date --------------------------------------------------------------------

    function parse(html) {
        const box = document.createElement("template");
        box.innerHTML = html;
        return [...box.content.children];
    }

    // The elements of `items`, in their order, instead of those from the first known one on.
    function merge(log, items) {
        const old = new Map([...log.children].map((e) => [e.id, e]));
        const known = items.find((e) => e.matches("article") && old.has(e.id));
        let next = known ? old.get(known.id) : null;
        const day = next?.previousElementSibling;
        if (day?.matches(".chat-day") && items.some((e) => e.id === day.id)) next = day;
        if (!known) log.replaceChildren();
        for (const item of items) {
            const have = old.get(item.id);
            if (have?.isConnected && have.dataset.mark === item.dataset.mark) {
                if (have === next) next = next.nextElementSibling;
                else log.insertBefore(have, next);
                continue;
            }
            if (have === next && next) next = next.nextElementSibling;
            if (have?.isConnected) have.remove();
            log.insertBefore(item, next);
        }
        while (next) {
            const after = next.nextElementSibling;
            next.remove();
            next = after;
        }
    }

    function update(log, html) {
        const items = parse(html);
        const earlier = items.find((e) => e.hasAttribute("data-earlier"));
        // What is shown may reach further back than what was sent: its own button stays.
        const rest = log.querySelector("[data-earlier]") ? items.filter((e) => e !== earlier) : items;
        const isThere = isAtBottom(log);
        const newest = [...log.querySelectorAll("article")].pop()?.id;
        stay(log, () => merge(log, rest));
        if (!log.querySelector("[data-earlier]") && earlier) log.prepend(earlier);
        htmx.process(log);
        sayNothing(log);
        if (isThere) goToBottom(log);
        else if ([...log.querySelectorAll("article")].pop()?.id !== newest) {
            newsOf(log).hidden = false;
        }
    }

    document.addEventListener("htmx:configRequest", (event) => {
        const { elt, headers, parameters, verb } = event.detail;
        const chat = document.querySelector("[data-chat]");
        if (verb !== "get" && chat) headers["X-CSRFToken"] = chat.dataset.csrf;
        if (elt.matches("[data-log]")) {
            const first = elt.querySelector("[data-cursor]");
            if (first) parameters.from = first.dataset.cursor;
            headers["X-Mark"] = elt.dataset.mark;
        }
        if (elt.matches("[data-preview]")) {
            const chosen = elt.closest("form").querySelector("[data-files]")?.files ?? [];
            const named = [...chosen].map(({ name, size }) => ({ name, size }));
            parameters.attached = JSON.stringify(named);
        }
    });

    document.addEventListener("htmx:afterRequest", (event) => {
        const { elt, xhr } = event.detail;
        if (!elt.matches?.("[data-log]") || !xhr.getResponseHeader("X-Mark")) return;
        elt.dataset.mark = xhr.getResponseHeader("X-Mark");
        if (xhr.status === 200) update(elt, xhr.responseText);
    });

    // Older messages come in above; the day they end with may be the one that follows.
    let reading = null;
    document.addEventListener("htmx:beforeSwap", (event) => {
        if (isElsewhere(event.detail)) {
            event.detail.shouldSwap = false;
            window.location.reload();
            return;
        }
        if (!event.detail.target.matches?.("[data-earlier]")) return;
        const log = event.detail.target.closest("[data-log]");
        const shown = log.querySelector("article");
        reading = { log, shown, before: shown.getBoundingClientRect().top };
    });
    document.addEventListener("htmx:afterSettle", () => {
        if (!reading) return;
        const { log, shown, before } = reading;
        reading = null;
        for (const day of log.querySelectorAll(".chat-day")) {
            const same = [...log.querySelectorAll(".chat-day")].filter((e) => e.id === day.id);
            same.slice(1).forEach((e) => e.remove());
        }
        scrollOf(log).scrollTop += shown.getBoundingClientRect().top - before;
    });

    // A picture that did not come is asked for again after a while: platforms are asked for a few at
    // a time. Then its name, which is a link, is all there is of it.
    document.addEventListener("error", (event) => {
        const picture = event.target;
        if (!picture.matches?.(".chat-files img")) return;
        const tries = Number(picture.dataset.tries ?? 0) + 1;
        picture.dataset.tries = tries;
        if (tries > PICTURE_TRIES) {
            picture.closest("a").hidden = true;
            return;
        }
        window.setTimeout(() => {
            const url = new URL(picture.src);
            url.searchParams.set("try", tries);
            picture.src = url.href;
        }, tries * PICTURE_WAIT_MS);
    }, true);

    // Somebody who was logged out is sent to the login page by every answer.
    function isElsewhere({ xhr, pathInfo }) {
        const asked = new URL(pathInfo.requestPath, window.location.href).pathname;
        return Boolean(xhr.responseURL) && new URL(xhr.responseURL).pathname !== asked;
    }

    const look = () => logs().forEach((log) => htmx.trigger(log, "chat:look"));

    // What was done, and what was not -----------------------------------------------------------

    let hiding = 0;
    function tell(id, text) {
        for (const other of ["told", "failed"]) document.getElementById(other).hidden = true;
        const line = document.getElementById(id);
        line.textContent = text;
        line.hidden = false;
        window.clearTimeout(hiding);
        if (id === "told") hiding = window.setTimeout(() => { line.hidden = true; }, TOLD_MS);
    }

    document.addEventListener("chat:told", (event) => {
        tell("told", event.detail.text);
        closeSheet();
        if (event.detail.focus) {
            const log = document.getElementById(`log-${event.detail.focus}`);
            goToBottom(log);
            window.setTimeout(() => document.getElementById(`${event.detail.focus}_text`)?.focus());
        }
        look();
    });
    document.addEventListener("chat:failed", (event) => {
        tell("failed", event.detail.text);
        look();
    });
    for (const kind of ["htmx:responseError", "htmx:sendError"]) {
        document.addEventListener(kind, (event) => {
            if (event.detail.elt.hasAttribute("data-live")) return;
            const status = event.detail.xhr?.status;
            const why = status ? `botadmin answered ${status}` : "botadmin does not answer";
            tell("failed", `That did not work: ${why}. Reload the page and try again.`);
        });
    }

    // The dialog of a message -------------------------------------------------------------------

    const sheet = () => document.getElementById("sheet");

    function closeSheet() {
        if (sheet()?.open) sheet().close();
    }

    async function openSheet(url) {
        document.getElementById("sheet-content").replaceChildren();
        await htmx.ajax("GET", url, { target: "#sheet-content", swap: "innerHTML" });
        if (document.getElementById("sheet-content").children.length && !sheet().open) {
            sheet().showModal();
        }
    }

    document.addEventListener("click", (event) => {
        const link = event.target.closest("a[data-sheet]");
        if (link && sheet() && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
            event.preventDefault();
            openSheet(link.href);
            return;
        }
        const button = event.target.closest("[data-post]");
        if (button) {
            const values = button.dataset.name ? { name: button.dataset.name } : {};
            htmx.ajax("POST", button.dataset.post, { source: button, swap: "none", values });
            return;
        }
        const news = event.target.closest("[data-newer]");
        if (news) goToBottom(document.getElementById(news.dataset.newer));
    });

    // Writing -----------------------------------------------------------------------------------

    // Whoever presses Answer, or opens a room where the keyboard is at hand, is about to write: the
    // page that comes then starts in its text box. One that was only addressed or reloaded does not.
    const BEGIN = "botadmin-chat-begin";
    const WIDE = "(min-width: 801px)"; // as in chat.css

    document.addEventListener("click", (event) => {
        const link = event.target.closest("a[data-writes]");
        if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
        sessionStorage.setItem(BEGIN, `${new URL(link.href).pathname}#${link.dataset.writes}`);
    });

    function beginToWrite() {
        const [path, id] = (sessionStorage.getItem(BEGIN) ?? "").split("#");
        sessionStorage.removeItem(BEGIN);
        if (path !== window.location.pathname) return;
        if (id === "thread_text" || window.matchMedia(WIDE).matches) {
            document.getElementById(id)?.focus();
        }
    }

    // Whether something was entered that goes out with the message.
    function holds(fold) {
        const fields = [...fold.querySelectorAll("input, select, textarea")];
        return fields.some((field) => field.value && field.name !== "on"); // `on`: for a preview
    }

    // What only the bot can send is out of the way while a person speaks; what was entered there
    // stays in sight, because it has to be taken out first.
    function showSpeaker(desk) {
        const chosen = desk.querySelector("[data-speaker]");
        if (!chosen) return;
        desk.querySelector("[data-newcomer]").hidden = chosen.value !== "+";
        for (const fold of desk.querySelectorAll("[data-only-bot]")) {
            fold.hidden = chosen.value !== "" && !holds(fold);
        }
        if (chosen.value) desk.querySelector("[id^=preview-]").replaceChildren();
    }

    const prepare = (root) => root.querySelectorAll("[data-desk]").forEach(showSpeaker);

    document.addEventListener("change", (event) => {
        const desk = event.target.closest("[data-desk]");
        if (desk && event.target.matches("[data-speaker]")) showSpeaker(desk);
    });
    document.addEventListener("keydown", (event) => {
        const desk = event.target.closest?.("[data-desk]");
        if (desk && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            desk.requestSubmit();
        }
        if (event.key === "Escape" && !sheet()?.open && event.target.type !== "search") {
            const hasWords = desk?.querySelector("[data-words]").value;
            if (!hasWords) document.getElementById("close-thread")?.click();
        }
    });

    // A preview that is open follows what is written.
    let previewing = 0;
    document.addEventListener("input", (event) => {
        const desk = event.target.closest("[data-desk]");
        if (!desk?.querySelector("[id^=preview-]").children.length) return;
        window.clearTimeout(previewing);
        const button = desk.querySelector("[data-preview]");
        previewing = window.setTimeout(() => htmx.trigger(button, "click"), PREVIEW_MS);
    });

    // Whoever pressed Preview is taken to it; whoever goes on writing stays in the text.
    document.addEventListener("htmx:afterSettle", (event) => {
        const { target, requestConfig } = event.detail;
        if (!target.matches?.(".chat-previews") || !requestConfig.triggeringEvent?.isTrusted) return;
        if (![requestConfig.elt, document.body].includes(document.activeElement)) return;
        target.focus({ preventScroll: true });
        target.scrollIntoView({ block: "start" });
    });

    document.addEventListener("htmx:load", () => prepare(document));
    document.addEventListener("DOMContentLoaded", () => {
        prepare(document);
        for (const log of logs()) {
            sayNothing(log);
            goToBottom(log);
            holdBottom(log);
        }
        beginToWrite();
    });
})();
