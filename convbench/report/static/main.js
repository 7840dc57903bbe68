// The page without scripts is whole; this adds the interactive table and the drawings.

const data = readData();
const root = document.documentElement;
root.classList.add("scripted");
// DataTables' style knows a dark theme by this class.
const darkTheme = matchMedia("(prefers-color-scheme: dark)");
const followTheme = () => root.classList.toggle("dark", darkTheme.matches);
followTheme();
darkTheme.addEventListener("change", followTheme);
const drawRest = showFigures(data);
showTable(data).then(() => {
  root.dataset.ready = "true";
  drawRest();
});
