// Suggestions for a field of labels. A browser completes the whole of a field, and here only the
// last of several words is typed: so each suggestion repeats what stands before it.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const field = document.querySelector("input[data-labels]");
    if (!field) return;
    const list = document.createElement("datalist");
    list.id = "labels-known";
    field.after(list);
    field.setAttribute("list", list.id);
    let known = null;

    function suggest() {
        const words = field.value.split(",").map((word) => word.trim().toLowerCase());
        words.pop(); // the one that is being typed
        const before = words.map((word) => `${word}, `).join("");
        list.replaceChildren(
            ...known
                .filter((label) => !words.includes(label))
                .map((label) => new Option("", before + label)),
        );
    }

    field.addEventListener("focus", async () => {
        if (known) return;
        known = [];
        const answer = await fetch(field.dataset.labels);
        if (answer.ok) known = (await answer.json()).labels;
        suggest();
    });
    field.addEventListener("input", () => known && suggest());
});
