// The page of a bot. Test shows each step and each finding as the server tells it, one JSON object a
// line (see bots/admin/bot_test.py); without this file the button works, too, and shows them all at
// the end. Forms that take their time say so.
"use strict";

(() => {
    const BADGES = {
        ok: ["✓", "ok", "Fine"],
        cannot: ["–", "idle", "Cannot"],
        warning: ["!", "warn", "Warning"],
        error: ["✕", "bad", "Wrong"],
    };
    let running = null;

    function element(name, className, text) {
        const made = document.createElement(name);
        if (className) made.className = className;
        if (text) made.textContent = text;
        return made;
    }

    function line(list, mark, tone, said, text, remedy) {
        const item = element("li");
        const sign = element("span", `font-semibold tone-${tone}`, mark);
        sign.setAttribute("aria-hidden", "true");
        const told = element("span", "grow");
        if (said) told.append(element("span", "unseen", `${said}: `));
        told.append(text);
        if (remedy) told.append(" ", element("strong", "", remedy));
        item.append(sign, told);
        list.append(item);
        return item;
    }

    // What was begun is done when the next thing begins, unless something was wrong.
    function settle(list, [mark, tone]) {
        const sign = list.querySelector(".under-way");
        if (!sign) return;
        sign.className = `font-semibold tone-${tone}`;
        sign.textContent = mark;
    }

    function show(list, told) {
        if (told.level === "error") settle(list, BADGES.error);
        if (told.doing || told.done) settle(list, BADGES.ok);
        if (told.doing) line(list, "→", "busy", "", told.doing).firstChild.classList.add("under-way");
        if (told.level) {
            const [mark, tone, said] = BADGES[told.level] || BADGES.warning;
            line(list, mark, tone, said, told.text, told.remedy);
        }
        if (told.done) line(list, "■", "idle", "", told.done).classList.add("font-semibold");
    }

    async function read(answer, take) {
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
            const { value, done } = await reader.read();
            if (done) return;
            const lines = (rest + value).split("\n");
            rest = lines.pop();
            lines.forEach((one) => take(JSON.parse(one)));
        }
    }

    async function test(form) {
        const section = document.getElementById("test");
        const list = section.querySelector("ol");
        running?.abort();
        const mine = (running = new AbortController());
        list.replaceChildren();
        section.hidden = false;
        section.focus();
        let isOver = false;
        try {
            const answer = await fetch(form.dataset.steps, {
                method: "POST",
                body: new FormData(form),
                signal: mine.signal,
            });
            if (answer.redirected || !answer.ok) throw new Error(answer.statusText);
            await read(answer, (told) => {
                isOver = isOver || Boolean(told.done);
                show(list, told);
            });
        } catch (error) {
            if (mine.signal.aborted) return;
        }
        if (!isOver && !mine.signal.aborted) {
            const text = "botadmin did not answer to the end.";
            show(list, { level: "error", text, remedy: "Reload the page, then test again." });
        }
    }

    // A link of another page of ours leads here to test: then nobody has to press it once more. A
    // link of anybody else only shows the page, as it does when it is loaded again.
    document.addEventListener("DOMContentLoaded", () => {
        const comes = document.referrer && new URL(document.referrer).origin === location.origin;
        const form = document.querySelector("form[data-steps]");
        if (location.hash !== "#test" || !comes || !form) return;
        history.replaceState(null, "", location.pathname + location.search);
        test(form);
    });

    // Pieces of the page come anew all the time, and their forms with them.
    document.addEventListener("submit", (event) => {
        const form = event.target;
        if (form.dataset.steps) {
            event.preventDefault();
            test(form);
        }
        if (form.dataset.busy) {
            const status = form.querySelector(".busy");
            if (status) status.textContent = form.dataset.busy;
        }
    });
})();
