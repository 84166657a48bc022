// Loads plotly when the first chart is drawn; stands before the script of each gr.HTML that draws with it.

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
