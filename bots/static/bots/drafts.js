// What somebody has begun to write in the chat outlives the page, say when their session ends and the
// login page comes between: it is kept in this tab, by who writes and where it would be sent, and put
// back until it was sent or the dialog it stands in was closed.
"use strict";

(() => {
    const user = document.currentScript.dataset.user;
    const FORMS = ".chat form[method=post], .chat-sheet-page form[method=post]";
    // The form's own number (see writing.py) is kept, too: what was sent already is not sent twice.
    const FIELDS = "[name=once], [name]:not([type=hidden], [type=file])";

    const keyOf = (form) => `botadmin-draft ${user} ${form.getAttribute("action")}`;
    const fieldsOf = (form) => [...form.querySelectorAll(FIELDS)];
    const forget = (form) => sessionStorage.removeItem(keyOf(form));

    function keep(form) {
        const fields = fieldsOf(form);
        if (!fields.some((field) => field.name !== "once" && field.value)) {
            forget(form);
            return;
        }
        const written = Object.fromEntries(fields.map((field) => [field.name, field.value]));
        sessionStorage.setItem(keyOf(form), JSON.stringify(written));
    }

    function putBack(form) {
        const written = JSON.parse(sessionStorage.getItem(keyOf(form)) ?? "{}");
        for (const field of fieldsOf(form)) {
            const text = written[field.name];
            if (!text || text === field.value) continue;
            // Who was chosen may be gone.
            if (field.options && ![...field.options].some((one) => one.value === text)) continue;
            field.value = text;
            const fold = field.closest("details");
            if (fold) fold.open = true;
        }
    }

    document.addEventListener("input", (event) => {
        const form = event.target.closest(FORMS);
        if (form) keep(form);
    });
    document.addEventListener("chat:told", (event) => {
        const form = event.target.closest(FORMS);
        if (form) forget(form);
    });
    document.addEventListener("htmx:load", (event) => {
        const loaded = event.detail.elt;
        if (loaded.matches(FORMS)) putBack(loaded);
        loaded.querySelectorAll(FORMS).forEach(putBack);
    });

    // Before anybody can write here.
    document.querySelectorAll(FORMS).forEach(putBack);
    const sheet = document.getElementById("sheet");
    sheet?.addEventListener("close", () => sheet.querySelectorAll(FORMS).forEach(forget));
})();
