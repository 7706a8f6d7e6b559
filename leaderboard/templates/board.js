"use strict";
// The board works without this: it adds sorting, filtering, words beside what one points at, and the comparison of two.

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const state = new URLSearchParams(location.hash.slice(1));

const meant = document.getElementById(location.hash.slice(1));
if (meant?.tagName === "DETAILS") meant.open = true;

function remember(name, value) {
  value ? state.set(name, value) : state.delete(name);
  history.replaceState(null, "", "#" + state);
}

// A cell as a number where it begins with one; "-" and words are none.
const numberOf = (text) => parseFloat(text.replace(/^\(/, "").replace(/,(?=\d{3})/g, ""));

function sort(table, column, descending) {
  const rows = all("tbody tr", table);
  const text = (row) => row.cells[column].innerText.trim();
  const numbers = new Map(rows.map((row) => [row, numberOf(text(row))]));
  const numeric = rows.some((row) => !isNaN(numbers.get(row)));
  const turn = descending ? -1 : 1;
  rows.sort((one, two) => {
    if (!numeric) return turn * text(one).localeCompare(text(two), "en");
    const [first, second] = [numbers.get(one), numbers.get(two)];
    if (isNaN(first) || isNaN(second)) return isNaN(first) - isNaN(second); // what is no number comes last
    return turn * (first - second);
  });
  table.tBodies[0].append(...rows);
  all("thead th", table).forEach((head, place) => {
    place === column ? head.setAttribute("aria-sort", descending ? "descending" : "ascending") : head.removeAttribute("aria-sort");
  });
}

for (const table of all("table.sortable")) {
  all("thead th", table).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const numeric = all("tbody tr", table).some((row) => !isNaN(numberOf(row.cells[column].innerText.trim())));
      sort(table, column, now ? now === "ascending" : numeric); // numbers from the largest down, words from a
    });
  });
}

const filters = document.getElementById("filters");

function filter() {
  const asked = all("select", filters).filter((select) => select.value);
  for (const part of all("[data-facets]")) {
    const facets = JSON.parse(part.dataset.facets);
    const shown = asked.every((select) => (facets[select.name] ?? []).includes(select.value));
    part.tagName === "TR" ? (part.hidden = !shown) : part.toggleAttribute("hidden", !shown);
    part.style.display = shown ? "" : "none";
  }
  const rows = all("tr[data-facets]");
  const left = rows.filter((row) => !row.hidden).length;
  filters.querySelector("output").textContent = asked.length ? `${left} of ${rows.length} rows` : "";
}

if (filters) {
  filters.hidden = false;
  for (const select of all("select", filters)) {
    const asked = state.get(select.name);
    if (all("option", select).some((option) => option.value === asked)) select.value = asked;
    select.addEventListener("change", () => { remember(select.name, select.value); filter(); });
  }
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(() => {
    all("select", filters).forEach((select) => remember(select.name, ""));
    filter();
  }));
  filter();
}

const tip = document.getElementById("tip");

function tell(part) {
  tip.hidden = !part;
  if (!part) return;
  tip.textContent = part.dataset.tip;
  const box = part.getBoundingClientRect();
  const left = Math.min(box.left + box.width / 2 + 12, innerWidth - tip.offsetWidth - 8);
  const above = box.top - tip.offsetHeight - 8;
  tip.style.left = `${Math.max(left, 8)}px`;
  tip.style.top = `${above > 8 ? above : Math.min(box.bottom + 8, innerHeight - tip.offsetHeight - 8)}px`;
}

const pointed = (event) => tell(event.target.closest?.("[data-tip]"));
document.addEventListener("pointerover", pointed);
document.addEventListener("focusin", pointed);
document.addEventListener("focusout", () => tell(null));
document.addEventListener("keydown", (event) => event.key === "Escape" && tell(null));
document.addEventListener("scroll", () => tell(null), { passive: true });

const pair = document.getElementById("pair");

function row(cells, kind) {
  const line = document.createElement("tr");
  cells.forEach((text, place) => {
    const cell = document.createElement(kind === "th" || !place ? "th" : "td");
    if (cell.tagName === "TH") cell.scope = kind === "th" ? "col" : "row";
    cell.textContent = text;
    line.append(cell);
  });
  return line;
}

function compare(known) {
  const [first, second] = [pair.first.value, pair.second.value];
  const of = (rows, ...names) => rows.filter((each) => names.every((name, place) => each[place] === name));
  const score = (agent, environment) => of(known.scores, agent, environment)[0]?.[2] ?? "–";
  const met = of(known.chances, first, second)[0];
  const table = document.createElement("table");
  table.append(document.createElement("thead"), document.createElement("tbody"));
  table.tHead.append(row(["on", first, second, `chance that ${first} wins`], "th"));
  const facts = (agent) => of(known.agents, agent)[0]?.[1] ?? [];
  const told = [facts(first), facts(second)];
  table.tBodies[0].append(
    ...(met ? met[3].map(([on, chance]) => row([on, score(first, on), score(second, on), chance])) : []),
    ...(met ? [row(["the mean", "", "", met[2]])] : []),
    ...known.facts.map((name, place) => row([name, told[0][place] ?? "–", told[1][place] ?? "–", ""])),
  );
  for (const line of table.tBodies[0].rows) {
    const [address, writers] = known.texts[line.cells[0].textContent] ?? ["", []];
    if (![first, second].every((name) => writers.includes(name))) continue;
    const link = document.createElement("a");
    link.href = address;
    link.textContent = "texts";
    link.setAttribute("aria-label", `texts on ${line.cells[0].textContent}`);
    line.cells[0].append(" ", link);
  }
  const box = document.createElement("div");
  box.className = "scroll";
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", `${first} against ${second}`);
  box.append(table);
  const nothing = document.createElement("p");
  nothing.textContent = first === second ? "Choose two agents." : "They share no environment.";
  document.getElementById("pairing").replaceChildren(...(met ? [] : [nothing]), box);
}

if (pair) {
  const known = JSON.parse(document.getElementById("compared").textContent);
  pair.hidden = false;
  pair.second.selectedIndex = 1;
  for (const select of [pair.first, pair.second]) {
    const asked = state.get(select.name);
    if (all("option", select).some((option) => option.value === asked)) select.value = asked;
    select.addEventListener("change", () => { remember(select.name, select.value); compare(known); });
  }
  compare(known);
  if (state.has("first")) document.getElementById("compare").scrollIntoView();
}
