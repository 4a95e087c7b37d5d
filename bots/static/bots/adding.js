// The steps of adding a bot: a slug that follows the name, forms that say that they are busy, and a
// list that is searched while one types. Without this file all of it works, too.
"use strict";

(() => {
    const LONGEST_SLUG = 50;

    function slugOf(text) {
        return text
            .normalize("NFKD")
            .toLowerCase()
            .replace(/[^a-z0-9\s_-]/g, "")
            .trim()
            .replace(/[\s-]+/g, "-")
            .slice(0, LONGEST_SLUG);
    }

    // Until somebody types a slug of their own.
    for (const slug of document.querySelectorAll("input[data-from]")) {
        const name = document.getElementById(slug.dataset.from);
        if (!name) continue;
        let follows = slug.value === "" || slug.value === slugOf(name.value);
        name.addEventListener("input", () => {
            if (follows) slug.value = slugOf(name.value);
        });
        slug.addEventListener("input", () => {
            follows = slug.value === "";
        });
    }

    function say(form, text) {
        const status = form.querySelector("span.busy");
        if (status) status.textContent = text;
    }

    document.addEventListener("submit", (event) => {
        const form = event.target;
        if (!form.dataset.busy) return;
        const isTest = event.submitter?.value === "test";
        say(form, isTest ? form.dataset.busyTest : form.dataset.busy);
    });

    // What a test found is read out, and the next key press is there.
    document.addEventListener("htmx:afterSwap", (event) => {
        if (event.detail.requestConfig?.elt.hasAttribute("data-trial")) {
            document.getElementById("outcome")?.focus();
        }
    });

    document.addEventListener("htmx:afterRequest", (event) => {
        const form = event.detail.elt;
        if (!form.hasAttribute?.("data-trial")) return;
        const lost = "botadmin did not answer. Nothing is lost here: try again.";
        say(form, event.detail.successful ? "" : lost);
    });

    // What was tested is not what is in the fields any more.
    document.addEventListener("input", (event) => {
        const passed = event.target.closest("form[data-trial]")?.querySelector("[data-passed]");
        if (passed) passed.remove();
    });

    document.addEventListener("input", (event) => {
        const filter = event.target;
        if (!filter.dataset.filter) return;
        const wanted = filter.value.trim().toLowerCase();
        for (const line of document.querySelectorAll(`${filter.dataset.filter} > li`)) {
            line.hidden = !line.textContent.toLowerCase().includes(wanted);
        }
    });

    document.getElementById("outcome")?.querySelector(".notice") &&
        document.getElementById("outcome").focus();
})();
