// The little that the page needs to change itself: text nodes only, never markup.

import { text } from "./text.js";

export function byId(id) {
  return document.getElementById(id);
}

// Finds a text by its name, such as `login.title`.
function named(name) {
  return name.split(".").reduce((part, key) => part[key], text);
}

// Writes the texts into the page.
export function translate() {
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = named(element.dataset.text);
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", named(element.dataset.label));
  }
}

// Changes a text only if it is another one, so that nobody is told the same twice.
export function say(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

// A word with a shape and a colour: `ok`, `warn`, `bad`, `info` or `unknown`.
export function state(level, words) {
  return { words, level };
}

// What can be pressed in a cell: `{ words, of, press }`, of which `of` says what it is about.
function fillButtons(cell, buttons) {
  while (cell.childElementCount > buttons.length) cell.lastElementChild.remove();
  buttons.forEach(({ words, of, press }, index) => {
    let button = cell.children[index];
    if (!button) {
      button = cell.appendChild(document.createElement("button"));
      button.type = "button";
    }
    say(button, words);
    const label = `${words}: ${of}`;
    if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
    button.onclick = press;
  });
}

// A text, or what has words, a title and a level; a title shows when the cell is pointed at.
const partsOf = (content) => (typeof content === "object" ? content : { words: content });

function fillCell(cell, content) {
  const { words, level, title = "", buttons } = partsOf(content);
  if (buttons) {
    fillButtons(cell, buttons);
    return;
  }
  if (level === undefined) {
    say(cell, words);
  } else {
    if (!cell.firstElementChild) cell.replaceChildren(document.createElement("span"));
    const mark = cell.firstElementChild;
    if (mark.className !== `state ${level}`) mark.className = `state ${level}`;
    say(mark, words);
  }
  if (cell.title !== title) cell.title = title;
}

// Writes the heads of the columns, which are those of the rows below.
export function fillHead(row, heads) {
  heads.forEach((content, column) => {
    const { words, title = "" } = partsOf(content);
    const head = row.cells[column] ?? row.appendChild(document.createElement("th"));
    head.scope = "col";
    head.className = column === 0 ? "" : "num";
    say(head, words);
    if (head.title !== title) head.title = title;
  });
  while (row.cells.length > heads.length) row.lastElementChild.remove();
}

// Makes the rows of a table's body those of `rows`: `{ key, cells, faint }`. A row whose key
// stays keeps its element. The first cell is the row's header.
export function fill(body, rows) {
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  rows.forEach(({ key, cells, faint }, index) => {
    const row = known.get(key) ?? document.createElement("tr");
    known.delete(key);
    row.dataset.key = key;
    row.classList.toggle("faint", Boolean(faint));
    cells.forEach((content, column) => {
      const cell = row.cells[column] ?? row.appendChild(makeCell(body, column));
      fillCell(cell, content);
    });
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
  for (const row of known.values()) row.remove();
}

// A cell looks like the head of its column.
function makeCell(body, column) {
  const cell = document.createElement(column === 0 ? "th" : "td");
  if (column === 0) cell.scope = "row";
  const head = body.closest("table").tHead?.rows[0]?.cells[column];
  if (head) cell.className = head.className;
  return cell;
}
