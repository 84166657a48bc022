// Draws figures with plotly, which is loaded when the first one is drawn.
// gr.HTML runs this with: element, its root; props; watch(prop, callback).

const NARROW = 480;  // pixels, below which ticks are numbers
const MAX_NAMED = 24;  // rows or columns that have room for their names

let isWaiting = false;  // for the tab to be opened

function ticks(names, narrow, what) {
    const shown = names.length <= MAX_NAMED && !narrow;
    const step = Math.ceil(names.length / (narrow ? 12 : 25));
    const places = names.map((_, place) => place).filter((place) => shown || place % step === 0);
    return {
        tickvals: places, ticktext: places.map((place) => shown ? names[place] : `${place + 1}`),
        title: {text: shown ? "" : `${what}, by number`},
    };
}

function heatmap(figure, view, width) {
    const narrow = width < NARROW, isScore = view === "score";
    const z = isScore ? figure.scores : figure.cosines;
    const [low, high] = isScore ? [0, 1] : figure.cosine_range;
    const trace = {
        type: "heatmap", z, zmin: low, zmax: high, colorscale: "Viridis", xgap: 1, ygap: 1, hoverinfo: "none",
        colorbar: {thickness: 10, tickformat: isScore ? ".0%" : ".2f", outlinewidth: 0},
    };
    if (figure.numbered && !narrow) {
        trace.texttemplate = "%{text}";
        trace.text = z.map((row) => row.map((value) => isScore ? `${(100 * value).toFixed(0)}` : value.toFixed(2)));
        trace.textfont = {size: 10};
    }
    const shapes = figure.pairs.map(([x, y]) => ({
        type: "rect", x0: x - 0.5, x1: x + 0.5, y0: y - 0.5, y1: y + 0.5, line: {color: "#ff9f1c", width: 2},
    }));
    const axis = {showgrid: false, zeroline: false, fixedrange: true};
    const layout = {
        shapes,
        xaxis: {...axis, ...ticks(figure.texts, narrow, "texts"), tickangle: narrow ? 0 : -45},
        yaxis: {...axis, ...ticks(figure.names, narrow, "images"), autorange: "reversed"},
    };
    return {traces: [trace], layout: layoutOf({...figure, layout})};
}

async function drawHeatmap(figure, plot, tip, value, view) {
    const isNew = !plot.on;
    const {traces, layout} = heatmap(figure, view, plot.clientWidth);
    await Plotly.react(plot, traces, layout, OPTIONS);
    if (!isNew) return;
    plot.on("plotly_hover", ({points: [point]}) => {
        const {x, y} = point, image = tip.querySelector("img"), lines = tip.querySelectorAll("span");
        image.src = value.images[y];
        lines[0].textContent = `${y + 1}. ${value.names[y]}`;
        lines[1].textContent = `${x + 1}. “${value.texts[x]}”`;
        const own = figure.pairs.some(([j, i]) => j === x && i === y) ? ", its own text" : "";
        lines[2].textContent = `score ${(100 * figure.scores[y][x]).toFixed(1)} %, `
            + `cosine ${figure.cosines[y][x].toFixed(4)}${own}`;
        const size = plot._fullLayout._size, left = point.xaxis.d2p(x) + size.l, top = point.yaxis.d2p(y) + size.t;
        tip.style.left = `${Math.min(Math.max(left - 95, 0), Math.max(plot.clientWidth - 190, 0))}px`;
        tip.style.top = top > plot.clientHeight / 2 ? "" : `${plot.offsetTop + top + 18}px`;
        tip.style.bottom = top > plot.clientHeight / 2
            ? `${tip.parentElement.clientHeight - plot.offsetTop - top + 18}px` : "";
        tip.hidden = false;
    });
    plot.on("plotly_unhover", () => { tip.hidden = true; });
}

function addViews(caption, show) {
    const views = add(caption, "div", {className: "views"});
    const buttons = [["score", "Score %"], ["cosine", "Cosine"]].map(([view, title]) => {
        const button = add(views, "button", {type: "button", textContent: title});
        button.addEventListener("click", () => choose(view));
        return [view, button];
    });
    function choose(view) {
        for (const [name, button] of buttons) button.setAttribute("aria-pressed", `${name === view}`);
        return show(view);
    }
    return choose;
}

function addFigure(parent, figure, value) {  // all get their places before one is drawn into its own
    const frame = add(parent, "figure"), caption = add(frame, "figcaption");
    add(caption, "b", {textContent: figure.title});
    add(caption, "div", {textContent: figure.note});
    let choose = null;
    if (figure.scores) {
        choose = addViews(caption, (view) => drawHeatmap(figure, plot, tip, value, view));
    }
    const plot = add(frame, "div", {className: "plot"});
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", figure.label);
    const tip = add(frame, "div", {className: "plot-tip", hidden: true});
    add(tip, "img", {alt: ""});
    for (let line = 0; line < 3; line++) add(tip, "span");
    return () => choose ? choose("score") : Plotly.react(plot, figure.traces, layoutOf(figure), OPTIONS);
}

async function draw() {
    const value = props.value, place = element.querySelector(".plots");
    const problem = element.querySelector(".plots-problem");
    for (const plot of place.querySelectorAll(".plot")) window.Plotly?.purge(plot);
    place.replaceChildren();
    problem.hidden = true;
    if (!value || !value.figures) return;
    if (value.missing) {
        problem.textContent = value.missing;
        problem.hidden = false;
        return;
    }
    isWaiting = !element.clientWidth;  // in a tab that is not open there is no room to measure
    if (isWaiting) return;
    try {
        await loadPlotly();
    } catch (error) {
        problem.textContent = error.message;
        problem.hidden = false;
        return;
    }
    if (props.value !== value) return;  // a newer answer is being drawn
    place.classList.toggle("single", value.figures.length === 1 || Boolean(value.stacked));
    const figures = value.figures.map((figure) => addFigure(place, figure, value));
    for (const drawInto of figures) await drawInto();
}

new ResizeObserver(() => { if (isWaiting && element.clientWidth) draw(); }).observe(element);
watch("value", draw);
draw();
