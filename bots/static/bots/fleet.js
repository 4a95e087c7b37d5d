// The drawing on the front page. It stays when the piece with its numbers is renewed, and is only
// given the new ones: so nothing flickers.
"use strict";

(() => {
    const DATA = "traffic-chart";
    let chart = null;

    function colour(name) {
        return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    }

    function line(label, dash) {
        return {
            label,
            data: [],
            borderDash: dash, // nobody has to tell the colours apart
            borderWidth: 2,
            pointRadius: 0,
            pointHitRadius: 8,
            tension: 0.3,
        };
    }

    function draw(canvas) {
        return new Chart(canvas, {
            type: "line",
            data: { labels: [], datasets: [line("In", []), line("Out", [6, 4])] },
            options: {
                animation: false,
                maintainAspectRatio: false,
                interaction: { mode: "index", intersect: false },
                plugins: {
                    legend: { display: false }, // the page says it beside the numbers
                    tooltip: {
                        callbacks: {
                            label: (item) => `${item.dataset.label}: ${item.formattedValue} per minute`,
                        },
                    },
                },
                scales: {
                    x: { grid: { display: false }, ticks: { maxTicksLimit: 9, maxRotation: 0, autoSkipPadding: 24 } },
                    y: {
                        beginAtZero: true,
                        title: { display: true, text: "messages per minute" },
                        ticks: { maxTicksLimit: 6 },
                    },
                },
            },
        });
    }

    // The colours of light or dark, whichever is on.
    function paint() {
        if (!chart) return;
        const text = getComputedStyle(chart.canvas).color;
        chart.data.datasets.forEach((dataset, n) => {
            const own = colour(n === 0 ? "--in" : "--out");
            Object.assign(dataset, {
                borderColor: own,
                backgroundColor: own,
                hoverBorderColor: own,
                hoverBackgroundColor: own,
            });
        });
        for (const scale of Object.values(chart.options.scales)) {
            scale.ticks.color = text;
            scale.grid.color = colour("--grid");
            scale.border = { color: colour("--grid") };
        }
        chart.options.scales.y.title.color = text;
        chart.update();
    }

    function fill() {
        const told = document.getElementById(DATA);
        const place = document.querySelector("[data-traffic]");
        if (!told || !place) return;
        const { labels, heard, sent } = JSON.parse(told.textContent);
        place.hidden = ![...heard, ...sent].some(Boolean);
        if (place.hidden) return;
        chart = chart || draw(place.querySelector("canvas"));
        chart.data.labels = labels;
        chart.data.datasets[0].data = heard;
        chart.data.datasets[1].data = sent;
        paint();
    }

    document.addEventListener("DOMContentLoaded", () => {
        fill();
        new MutationObserver(paint).observe(document.documentElement, {
            attributeFilter: ["class"],
        });
    });

    document.addEventListener("htmx:load", (event) => {
        if (event.detail.elt.querySelector(`#${DATA}`)) fill();
    });
})();
