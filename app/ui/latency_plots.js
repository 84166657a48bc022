// Draws the charts of the latency tab, and changes them in place when new numbers come.
// gr.HTML runs this with: element, its root; props; watch(prop, callback).

let isWaiting = false;  // for the tab to be opened
let isDrawing = false;

function place(name, parent) {
    const known = parent.querySelector(`figure[data-name="${name}"]`);
    if (known) return known;
    const frame = add(parent, "figure"), caption = add(frame, "figcaption");
    frame.dataset.name = name;
    add(caption, "b");
    add(caption, "div");
    add(caption, "div", {className: "keys"});  // plotly's own legend takes half of a narrow chart
    const plot = add(frame, "div", {className: "plot"});
    plot.setAttribute("role", "img");
    add(frame, "p", {className: "plots-problem"});
    return frame;
}

function showKeys(parent, keys) {
    parent.replaceChildren();
    for (const [name, colour] of keys) {
        const key = add(parent, "span");
        add(key, "i").style.background = colour;
        key.append(name);
    }
}

async function show(figure, frame) {
    const plot = frame.querySelector(".plot");
    frame.querySelector("b").textContent = figure.title;
    frame.querySelector("figcaption div").textContent = figure.note;
    showKeys(frame.querySelector(".keys"), figure.missing ? [] : figure.keys);
    const problem = frame.querySelector(".plots-problem");
    problem.textContent = figure.missing;
    problem.hidden = !figure.missing;
    plot.hidden = Boolean(figure.missing);
    plot.setAttribute("aria-label", figure.label);
    if (figure.missing) Plotly.purge(plot);
    else await Plotly.react(plot, figure.traces, layoutOf(figure), OPTIONS);
}

async function draw() {
    isWaiting = !element.clientWidth;  // in a tab that is not open there is no room to measure
    if (isWaiting || isDrawing || !props.value?.figures) return;
    const problem = element.querySelector(":scope .plots + .plots-problem");
    isDrawing = true;
    try {
        await loadPlotly();
        problem.hidden = true;
        let drawn = null;
        while (drawn !== props.value) {  // newer numbers may come meanwhile
            drawn = props.value;
            // All get their places before one is drawn into its own: they share the width.
            const frames = drawn.figures.map((figure) => place(figure.name, element.querySelector(".plots")));
            for (const [number, figure] of drawn.figures.entries()) await show(figure, frames[number]);
        }
    } catch (error) {
        problem.textContent = error.message;
        problem.hidden = false;
    } finally {
        isDrawing = false;
    }
}

new ResizeObserver(() => { if (isWaiting && element.clientWidth) draw(); }).observe(element);
watch("value", draw);
draw();
