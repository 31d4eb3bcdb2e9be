"use strict";
// Texts of the data reach the page through textContent alone: whatever they hold stays text.
const PAGE_ROWS = 60;

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children.filter(child => child !== null));
  return made;
}

function embedded(id) {
  const script = document.getElementById(id);
  return script && JSON.parse(script.textContent);
}

// Aligned words: a segment is a string (heard as spoken) or [spoken, heard], where "" is nothing.
function alignedWords(segments) {
  const box = element("div", "words");
  for (const segment of segments) {
    if (typeof segment === "string") {
      for (const word of segment.split(" ")) box.append(element("span", "w", element("span", "", word)), " ");
      continue;
    }
    const [spoken, heard] = segment;
    const kind = !spoken ? "ins" : !heard ? "del" : "sub";
    const said = { ins: "made up:", del: "dropped", sub: "heard as" }[kind];
    const word = text => element("span", text ? "" : "none", text || "–");
    const hint = element("span", "vh", ` ${said} `);
    box.append(element("span", `w ${kind}`, word(spoken), hint, word(heard)), " ");
  }
  return box;
}

const errorsIn = segments => segments.filter(segment => typeof segment !== "string");
const textOf = segments => segments.map(segment => (typeof segment === "string" ? segment : segment.join(" "))).join(" ");

// "spoken>heard" asks for one error; an empty heard stands for any, an empty spoken for nothing spoken.
function matcher(query) {
  const wanted = query.trim().toLowerCase();
  if (wanted.includes(">")) {
    const [spoken, heard] = wanted.split(">").map(part => part.trim());
    const among = (part, words) => part === words || (part !== "" && words.split(" ").includes(part));
    return row => row.errors.some(([s, h]) => among(spoken, s.toLowerCase()) && (!heard || among(heard, h.toLowerCase())));
  }
  const terms = wanted.split(/\s+/).filter(Boolean);
  return row => terms.every(term => row.text.includes(term));
}

function compareValues(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "string" ? a.localeCompare(b) : a - b;
}

// A list of any length, of which only as much is in the document as has been scrolled to.
class LazyList {
  constructor(section, rows, { values, draw, keep }) {
    Object.assign(this, { section, rows, values, draw, keep, descending: true, column: null });
    this.body = section.querySelector("tbody");
    this.count = section.querySelector("output");
    this.more = section.querySelector("button.more");
    this.search = section.querySelector("input[type=search]");
    for (const row of rows) {
      row.errors = row.sides.flatMap(errorsIn);
      row.text = `${row.name} ${row.kind ?? ""} ${row.sides.map(textOf).join(" ")}`.toLowerCase();
    }
    let waiting;
    this.search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => this.refresh(), 120); });
    section.querySelector(".tools").addEventListener("submit", event => event.preventDefault());
    section.querySelectorAll(".tools :is(select, input[type=checkbox])").forEach(tool => tool.addEventListener("change", () => this.refresh()));
    section.querySelectorAll("th").forEach((head, index) => head.querySelector("button").addEventListener("click", () => this.sort(head, index)));
    this.more.addEventListener("click", () => this.extend());
    new IntersectionObserver(seen => { if (seen[0].isIntersecting) this.extend(); }, { rootMargin: "600px" }).observe(this.more);
    this.refresh();
  }

  sort(head, index) {
    this.descending = this.column === index ? !this.descending : typeof this.values(this.rows[0])[index] !== "string";
    this.column = index;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.ariaSort = this.descending ? "descending" : "ascending";
    this.refresh();
  }

  refresh() {
    const matches = matcher(this.search.value);
    this.shown = this.rows.filter(row => matches(row) && this.keep(row));
    if (this.column !== null) {
      const sign = this.descending ? -1 : 1;
      const keyed = this.shown.map(row => [this.values(row)[this.column], row]);
      keyed.sort(([a], [b]) => (a === null || b === null ? compareValues(a, b) : sign * compareValues(a, b)));
      this.shown = keyed.map(([, row]) => row);
    }
    this.count.textContent = `${this.shown.length.toLocaleString("en")} of ${this.rows.length.toLocaleString("en")}`;
    this.body.replaceChildren();
    this.extend();
  }

  extend() {
    const from = this.body.rows.length;
    this.body.append(...this.shown.slice(from, from + PAGE_ROWS).map(row => this.draw(row)));
    this.more.hidden = this.body.rows.length >= this.shown.length;
  }
}

function numberCell(name, text) {
  const cell = element("td", "n", text);
  cell.dataset.name = name;
  return cell;
}

function mediaOf(row) {
  if (!row.sound) return null;
  const audio = element("audio");
  Object.assign(audio, { controls: true, preload: "none", src: `data:audio/ogg;base64,${row.sound}` });
  audio.setAttribute("aria-label", `Sound of ${row.name}`);
  const picture = element("img");
  Object.assign(picture, { src: `data:image/png;base64,${row.picture}`, alt: `Log-mel picture, ${row.seconds} s, low frequencies below` });
  const cursor = element("i");
  const box = element("span", "mel", picture, cursor);
  audio.addEventListener("timeupdate", () => {
    cursor.style.left = `${(100 * audio.currentTime) / row.seconds}%`;
    cursor.style.visibility = "visible";
  });
  audio.addEventListener("play", () => document.querySelectorAll("audio").forEach(other => other !== audio && other.pause()));
  box.addEventListener("click", event => {
    const box_ = picture.getBoundingClientRect();
    audio.currentTime = ((event.clientX - box_.left) / box_.width) * row.seconds;
    audio.play();
  });
  return element("div", "media", audio, box);
}

const percent = (part, whole) => ((100 * part) / Math.max(whole, 1)).toFixed(0);

function utteranceList(section, data) {
  const rows = data.rows.map(([name, segments, wrong, words, confidence, seconds, snr, slices, sound, picture]) =>
    ({ name, sides: [segments], wrong, words, confidence, seconds, snr, slices, sound, picture }));
  const slice = section.querySelector("select"), [onlyWrong, onlySound] = section.querySelectorAll("input[type=checkbox]");
  data.dimensions.forEach(([dimension, values], d) => {
    const group = element("optgroup");
    group.label = dimension;
    values.forEach((value, v) => group.append(new Option(value, `${d}:${v}`)));
    slice.append(group);
  });
  const list = new LazyList(section, rows, {
    values: row => [row.wrong, row.wrong / Math.max(row.words, 1), row.words, row.confidence, row.seconds, row.snr, row.name],
    keep: row => {
      const [d, v] = slice.value.split(":").map(Number);
      return (!slice.value || row.slices[d] === v) && (!onlyWrong.checked || row.wrong) && (!onlySound.checked || row.sound);
    },
    draw: row => element("tr", "",
      numberCell("errors", row.wrong), numberCell("WER %", percent(row.wrong, row.words)), numberCell("words", row.words),
      numberCell("confidence", row.confidence?.toFixed(2) ?? "–"), numberCell("seconds", row.seconds.toFixed(1)),
      numberCell("SNR", row.snr === null ? "–" : `${row.snr}`),
      element("td", "text", alignedWords(row.sides[0]), element("div", "id", row.name), mediaOf(row))),
  });
  return { section, list, slice, data };
}

function flipList(section, rows) {
  const kind = section.querySelector("select");
  const order = ["broken", "worse", "fixed", "better"];
  new LazyList(section, rows.map(([name, kind, a, b, ...sides]) => ({ name, kind, a, b, sides })), {
    values: row => [order.indexOf(row.kind), row.a, row.b, row.b - row.a, row.name],
    keep: row => !kind.value || row.kind === kind.value,
    draw: row => element("tr", "",
      element("td", `tag ${row.b < row.a ? "good" : "bad"}`, `${row.b < row.a ? "▲" : "▼"} ${row.kind}`),
      numberCell("A", row.a), numberCell("B", row.b), numberCell("change", `${row.b > row.a ? "+" : "−"}${Math.abs(row.b - row.a)}`),
      element("td", "text", ...row.sides.map((side, index) => element("div", "heard", element("b", "", "AB"[index]), alignedWords(side))), element("div", "id", row.name))),
  });
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, index) => {
    const text = row.cells[index].dataset.v ?? row.cells[index].textContent.trim();
    return text !== "" && !isNaN(text) ? Number(text) : text;
  };
  heads.forEach((head, index) => {
    const button = element("button", "", ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.ariaSort === "descending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.ariaSort = up ? "ascending" : "descending";
      const rows = [...table.tBodies[0].rows].map(row => [value(row, index), row]);
      rows.sort(([a], [b]) => (typeof a === typeof b ? compareValues(a, b) : String(a).localeCompare(String(b))) * (up ? 1 : -1));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}

document.querySelectorAll("table.sortable").forEach(sortable);
const flips = embedded("flips-data"), utterances = embedded("utterances-data");
if (flips) flipList(document.getElementById("flips"), flips);
const main = utterances && utteranceList(document.getElementById("utterances"), utterances);

// A slice or an error in any table leads to its utterances.
document.querySelectorAll("[data-slice], [data-error]").forEach(cell => {
  if (!main || !main.data.rows.length) return;
  const { list, slice, section, data } = main;
  const asked = cell.dataset.slice && JSON.parse(cell.dataset.slice);
  const d = asked ? data.dimensions.findIndex(([name]) => name === asked[0]) : -1;
  const v = d < 0 ? -1 : data.dimensions[d][1].indexOf(asked[1]);
  const search = asked ? (v < 0 && asked[0] === "speaker" ? `speaker ${asked[1]}` : null) : cell.dataset.error;
  if (v < 0 && search === null) return;
  const button = element("button", "link", ...cell.childNodes);
  button.title = "Show these utterances";
  cell.append(button);
  button.addEventListener("click", () => {
    slice.value = v < 0 ? "" : `${d}:${v}`;
    list.search.value = search ?? "";
    list.refresh();
    section.scrollIntoView();
    list.search.focus({ preventScroll: true });
  });
});
