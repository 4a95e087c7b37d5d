// The channels of a form: those that the search finds can be ticked, and what is ticked stays chosen
// while one searches for others. Only the chosen ones have a name, so only they are sent.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const picker = document.querySelector("[data-picker]");
    if (!picker) return;
    const chosen = picker.querySelector("[data-chosen]");
    const search = picker.querySelector("input[type=search]");
    const count = picker.querySelector("[data-count]");

    const boxOf = (pk) => chosen.querySelector(`input[value="${pk}"]`);
    const offered = () => [...picker.querySelectorAll("[data-channel]")];

    function tell() {
        const boxes = chosen.querySelectorAll("input").length;
        count.textContent = `${boxes} chosen`;
        for (const box of offered()) box.checked = boxOf(box.dataset.channel) !== null;
    }

    function choose(box) {
        if (boxOf(box.dataset.channel)) return;
        const item = document.createElement("li");
        const label = document.createElement("label");
        const input = document.createElement("input");
        Object.assign(input, {
            type: "checkbox", name: "channels", value: box.dataset.channel, checked: true,
        });
        const name = document.createElement("span");
        name.textContent = box.nextElementSibling.textContent;
        label.append(input, " ", name);
        item.append(label);
        chosen.append(item);
    }

    picker.addEventListener("change", (event) => {
        const box = event.target;
        if (box.dataset.channel && box.checked) choose(box);
        else if (box.dataset.channel) boxOf(box.dataset.channel)?.closest("li").remove();
        else if (box.name === "channels") {
            // It goes with the focus on it, which would be lost.
            box.closest("li").remove();
            search.focus();
        } else return;
        tell();
    });

    picker.addEventListener("click", (event) => {
        if (!event.target.closest("[data-all]")) return;
        offered().forEach(choose);
        tell();
    });

    // Enter searches, which happens by itself; it does not send the form.
    search.addEventListener("keydown", (event) => {
        if (event.key === "Enter") event.preventDefault();
    });

    document.addEventListener("htmx:afterSwap", tell);
    tell();
});
