"use strict";
(() => {
  if (typeof Plotly === "undefined") return; // the page stays as it is: figures as pictures, the table unsorted
  document.documentElement.classList.add("scripted");

  // --- figures: drawn when they come near, in the colours of the reader's scheme ---
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const settings = { displayModeBar: false, responsive: true, doubleClick: "reset" };
  const drawn = new Set();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function themed(element) {
    const text = document.getElementById(element.dataset.drawing).textContent;
    const ink = colour("--ink"), soft = colour("--soft"), grid = colour("--grid"), paper = colour("--paper");
    const drawing = JSON.parse(text.replaceAll('"#000000"', JSON.stringify(ink)));
    const { layout } = drawing;
    layout.font.color = ink;
    layout.hoverlabel = { ...layout.hoverlabel, bgcolor: paper, bordercolor: soft, font: { color: ink, size: 12 } };
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
      Object.assign(layout[name], { gridcolor: grid, linecolor: soft, tickcolor: soft });
    }
    return drawing;
  }

  function draw(element) {
    const { data, layout } = themed(element);
    drawn.add(element);
    return Plotly.react(element, data, layout, settings);
  }

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      near.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "600px" });
  document.querySelectorAll(".plot").forEach((element) => near.observe(element));
  scheme.addEventListener("change", () => drawn.forEach(draw));

  // --- a link to a row opens what it is folded in, also in browsers that do not do so themselves ---
  function unfold() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = target?.closest("details:not([open])");
    if (folded) {
      folded.open = true;
      target.scrollIntoView();
    }
  }
  addEventListener("hashchange", unfold);
  unfold();

  // --- the table of rates: a button in each heading ---
  const compare = new Intl.Collator("en", { numeric: true }).compare;

  function order(a, b) {
    if (a === "" || b === "") return (a === "") - (b === ""); // what does not exist comes last
    const x = Number(a), y = Number(b);
    return Number.isNaN(x) || Number.isNaN(y) ? compare(a, b) : x - y;
  }

  function sort(table, column, heading) {
    const down = heading.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.key;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const found = order(key(a), key(b));
      return key(a) === "" || key(b) === "" || !down ? found : -found;
    });
    const group = (row) => row?.dataset.group;
    rows.forEach((row, at) => row.classList.toggle("again", group(row) === group(rows[at - 1])));
    table.tBodies[0].append(...rows);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    table.querySelectorAll("thead th").forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      heading.replaceChildren(button);
      button.addEventListener("click", () => sort(table, column, heading));
    });
  }
})();
