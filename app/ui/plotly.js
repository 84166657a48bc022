// Loads plotly when the first chart is drawn, and gives charts their looks; stands before the script of each
// gr.HTML that draws with it.

const CLEAR = "rgba(0,0,0,0)";
const OPTIONS = {responsive: true, displayModeBar: false};

function loadPlotly() {
    if (!window.plotlyLoading) {
        window.plotlyLoading = new Promise((resolve, reject) => {
            const script = document.createElement("script");
            const {root, api_prefix} = window.gradio_config;
            script.src = `${root}${api_prefix}/file=${props.plotly}`;
            script.onload = resolve;
            script.onerror = () => {
                window.plotlyLoading = null;  // so that a later try may work
                script.remove();
                reject(new Error("It cannot be drawn: plotly's script could not be loaded; try again."));
            };
            document.head.appendChild(script);
        });
    }
    return window.plotlyLoading;
}

function colour(name) {
    return getComputedStyle(document.body).getPropertyValue(name).trim();
}

function add(parent, tag, attributes = {}) {
    const child = document.createElement(tag);
    Object.assign(child, attributes);
    parent.appendChild(child);
    return child;
}

function layoutOf(figure) {
    const text = colour("--body-text-color"), lines = colour("--border-color-primary");
    const axis = {gridcolor: lines, zerolinecolor: lines, linecolor: lines, automargin: true};
    const {xaxis, yaxis, ...rest} = figure.layout;
    return {
        paper_bgcolor: CLEAR, plot_bgcolor: CLEAR, font: {color: text, size: 11}, margin: {l: 8, r: 8, t: 8, b: 8},
        showlegend: false, legend: {orientation: "h", y: 1.02, yanchor: "bottom"}, height: figure.height,
        dragmode: false, hovermode: "closest",  // a finger on the chart scrolls the page
        xaxis: {...axis, ...xaxis}, yaxis: {...axis, ...yaxis}, ...rest,
    };
}
