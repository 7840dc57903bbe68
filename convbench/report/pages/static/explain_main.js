// The page of `convbench explain`: the explainer alone. The address keeps the reader's settings.

import { mountExplainer } from "./explainer.js";

const { problem, execution } = JSON.parse(document.getElementById("data").textContent);
const settingInAddress = () => location.hash.slice(1);
const explained = mountExplainer(document.getElementById("explainer"), {
  problem,
  execution,
  text: settingInAddress(),
  onChange: (text) => history.replaceState(null, "", `#${text}`),
});
addEventListener("hashchange", () => explained.show(problem, execution, settingInAddress()));
document.documentElement.dataset.ready = "true";
