// What widgets of others leave out for people who do not see the page.
"use strict";

// They are built when the page is loaded; this comes after.
window.addEventListener("load", () => setTimeout(() => {
    // select2: the field one types into has no label; that of the select it stands for is hidden.
    for (const select of document.querySelectorAll("select.select2-hidden-accessible")) {
        const typed = select.nextElementSibling?.querySelector(".select2-search__field");
        const label = select.labels[0]?.textContent.trim();
        if (typed && label) typed.setAttribute("aria-label", label);
    }

    // Django's two boxes: an icon that is described but is nothing in particular.
    for (const icon of document.querySelectorAll(".help-tooltip[aria-label]")) {
        icon.setAttribute("role", "img");
    }
}));
