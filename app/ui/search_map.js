// Draws the map of a gallery with plotly, which is loaded when the first map is drawn.
// gr.HTML runs this with: element, its root; props; trigger(event, data); watch(prop, callback); server.

const thumbnails = new Map();  // by gallery, model and id: promises of data URIs
let results = null;  // watches what is found

function ranks(model) {
    const cards = document.querySelectorAll(`#search-results section[data-model="${CSS.escape(model)}"] button`);
    return new Map(Array.from(cards, (card) => [card.dataset.id, card.dataset.rank]));
}

function traces(map) {
    const found = ranks(map.model);
    const isFound = (id) => found.has(id);
    const points = map.ids.map((id, place) => ({id, x: map.x[place], y: map.y[place]}));
    const trace = (chosen, extra) => ({
        type: "scatter", x: chosen.map((each) => each.x), y: chosen.map((each) => each.y),
        customdata: chosen.map((each) => each.id), hoverinfo: "none", ...extra,
    });
    return [
        trace(points.filter(({id}) => !isFound(id)), {
            mode: "markers", marker: {size: 7, opacity: 0.55, color: colour("--color-accent")},
        }),
        trace(points.filter(({id}) => isFound(id)), {
            mode: "markers+text", marker: {size: 13, color: "#f59e0b", line: {width: 1, color: "#78350f"}},
            text: points.filter(({id}) => isFound(id)).map(({id}) => found.get(id)),
            textposition: "top center", textfont: {color: colour("--body-text-color"), size: 11},
        }),
    ];
}

const LAYOUT = {
    // A finger on the map scrolls the page.
    showlegend: false, hovermode: "closest", dragmode: matchMedia("(pointer: coarse)").matches ? false : "pan",
    paper_bgcolor: CLEAR, plot_bgcolor: CLEAR, margin: {l: 8, r: 8, t: 8, b: 8},
};
const AXIS = {showticklabels: false, zeroline: false, showgrid: false, showline: false};
const MAP_OPTIONS = {responsive: true, displaylogo: false,
    modeBarButtons: [["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]]};

async function draw() {
    const map = props.value;
    if (!map) return;
    const note = element.querySelector(".map-note");
    try {
        await loadPlotly();
    } catch (error) {
        note.textContent = error.message;
        return;
    }
    const plot = element.querySelector(".plot");
    const isNew = !plot.on;
    const modebar = {bgcolor: CLEAR, color: colour("--body-text-color"), activecolor: colour("--color-accent")};
    const layout = {...LAYOUT, xaxis: AXIS, yaxis: AXIS, modebar, uirevision: map.key};
    await Plotly.react(plot, traces(map), layout, MAP_OPTIONS);
    note.textContent = map.note;
    if (isNew) listen(plot);
    if (!results) {
        let pending = 0;
        results = new MutationObserver(() => {  // an answer is many changes
            clearTimeout(pending);
            pending = setTimeout(draw, 200);
        });
        const changes = {childList: true, subtree: true, attributeFilter: ["data-id"]};
        results.observe(document.getElementById("search-results"), changes);
    }
}

function listen(plot) {
    const tip = element.querySelector(".map-tip");
    plot.on("plotly_hover", async ({points: [point]}) => {
        const id = point.customdata, map = props.value;
        tip.dataset.id = id;
        const {x, y} = {x: point.xaxis.d2p(point.x) + plot._fullLayout._size.l,
            y: point.yaxis.d2p(point.y) + plot._fullLayout._size.t};
        const shown = await thumbnail(map, id);
        if (tip.dataset.id !== id) return;  // the pointer has moved on
        tip.querySelector("img").src = shown;
        tip.querySelector("span").textContent = map.captions[map.ids.indexOf(id)] || id;
        tip.style.left = `${Math.min(Math.max(x - 80, 0), plot.clientWidth - 160)}px`;
        tip.style.top = y > plot.clientHeight / 2 ? "" : `${y + 14}px`;
        tip.style.bottom = y > plot.clientHeight / 2 ? `${plot.clientHeight - y + 14}px` : "";
        tip.hidden = false;
    });
    plot.on("plotly_unhover", () => { tip.hidden = true; delete tip.dataset.id; });
    plot.on("plotly_click", ({points: [point]}) => {
        tip.hidden = true;
        trigger("select", {id: point.customdata, text: ""});
    });
}

function thumbnail({gallery, model}, id) {
    const key = JSON.stringify([gallery, model, id]);
    if (!thumbnails.has(key)) thumbnails.set(key, server.thumbnail([gallery, model, id]));
    return thumbnails.get(key);
}

watch("value", draw);
draw();
