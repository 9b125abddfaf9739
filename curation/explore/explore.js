"use strict";
const find = (id) => document.getElementById(id);
// All that is shown follows from the address: it can be sent to a colleague.
const state = () => {
  const asked = new URLSearchParams(location.search);
  return {
    where: asked.get("where") || "",
    sort: asked.get("sort") || "",
    descending: asked.get("descending") === "true",
    offset: Number(asked.get("offset") || 0),
    open: asked.get("open") || "",
  };
};
let rows = [];
let total = 0;

function go(change, replace) {
  const next = { ...state(), ...change };
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(next)) if (value) asked.set(name, String(value));
  const address = location.pathname + (asked.size ? "?" + asked : "");
  history[replace ? "replaceState" : "pushState"](null, "", address);
  return show();
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error || "That is not understood.");
  return content;
}

const query = (names) => {
  const now = state();
  return new URLSearchParams(names.map((name) => [name, String(now[name])])).toString();
};
const hours = (seconds) =>
  seconds < 3600 ? (seconds / 60).toFixed(2) + " min" : (seconds / 3600).toFixed(2) + " h";
const cell = (value) =>
  value === null ? "" : typeof value === "number" ? String(Math.round(value * 1000) / 1000) : String(value);

// While the server reads on, or the run does, the page asks again.
let again = 0;
function progress(read) {
  clearTimeout(again);
  const reading = read.partitions < read.of;
  if (reading || read.partial) again = setTimeout(show, reading ? 2000 : 10000);
  if (reading) return `; ${read.partitions} of ${read.of} parts read so far`;
  return read.partial ? "; the run goes on" : "";
}

let latest = 0;
async function show() {
  const turn = ++latest;
  const now = state();
  find("where").value = now.where;
  for (const kind of ["csv", "parquet"]) {
    find(kind).href = `/api/download.${kind}?` + query(["where", "sort", "descending"]);
  }
  find("table").setAttribute("aria-busy", "true");
  try {
    const found = await ask("/api/utterances?" + query(["where", "sort", "descending", "offset"]));
    if (turn !== latest) return;
    find("error").hidden = true;
    rows = found.rows;
    total = found.counts.utterances;
    const { utterances, seconds, kept, kept_seconds: keptS } = found.counts;
    find("counts").textContent =
      `${utterances.toLocaleString("en")} utterances, ${hours(seconds)}; ` +
      `kept ${kept.toLocaleString("en")}, ${hours(keptS)}; ${found.judged} judged` +
      (found.differing.length ? `, reviewers differ on ${found.differing.length}` : "") +
      progress(found.read);
    drawTable(found.columns, now);
  } catch (error) {
    if (turn !== latest) return;
    find("error").textContent = error.message;
    find("error").hidden = false;
  }
  find("table").setAttribute("aria-busy", "false");
  await open(now.open, turn);
}

function drawTable(columns, now) {
  const head = find("table").querySelector("thead tr");
  head.replaceChildren(
    ...columns.map((name) => {
      const th = document.createElement("th");
      th.scope = "col";
      const button = document.createElement("button");
      button.type = "button";
      const sorted = now.sort === name;
      button.textContent = name.replaceAll("_", " ") + (sorted ? (now.descending ? " ↓" : " ↑") : "");
      button.addEventListener("click", () =>
        go({ sort: name, descending: sorted && !now.descending, offset: 0 }));
      if (sorted) th.setAttribute("aria-sort", now.descending ? "descending" : "ascending");
      th.append(button);
      return th;
    }));
  find("table").querySelector("tbody").replaceChildren(
    ...rows.map((row) => {
      const tr = document.createElement("tr");
      tr.dataset.id = row.utterance_id;
      for (const name of columns) {
        const td = document.createElement("td");
        td.textContent = cell(row[name]);
        if (typeof row[name] === "number") td.className = "n";
        else td.dir = "auto";
        tr.append(td);
      }
      tr.addEventListener("click", () => go({ open: row.utterance_id }));
      return tr;
    }));
  const last = now.offset + rows.length;
  find("place").textContent = total ? `${now.offset + 1} to ${last} of ${total.toLocaleString("en")}` : "none";
  find("earlier").disabled = now.offset === 0;
  find("later").disabled = last >= total;
}

let opened = "";
async function open(id, turn) {
  for (const tr of find("table").querySelectorAll("tbody tr")) {
    tr.setAttribute("aria-selected", String(tr.dataset.id === id));
  }
  if (id === opened) return;
  find("one").hidden = !id;
  opened = id;
  if (!id) return;
  const found = await ask("/api/utterance/" + encodeURIComponent(id));
  if (turn !== latest) {
    opened = "";
    return;
  }
  // The server escapes every text in it.
  find("card").innerHTML = found.card;
  find("said").value = found.text;
  const audio = find("card").querySelector("audio");
  const playhead = find("card").querySelector(".playhead");
  if (audio) {
    const picture = new Image();
    picture.className = "spectrogram";
    picture.alt = "Spectrogram; high frequencies are above";
    picture.src = `/api/spectrogram/${encodeURIComponent(id)}.png`;
    find("card").querySelector(".wave").before(picture);
    audio.addEventListener("timeupdate", () => {
      playhead.hidden = !audio.currentTime;
      playhead.style.left = (100 * audio.currentTime) / (audio.duration || 1) + "%";
    });
    find("card").querySelector(".wave").addEventListener("click", (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      const from = () => {
        audio.currentTime = ((event.clientX - box.left) / box.width) * audio.duration;
        audio.play();
      };
      if (audio.readyState) from();
      else {
        audio.addEventListener("loadedmetadata", from, { once: true });
        audio.load();
      }
    });
  }
  for (const button of find("card").querySelectorAll("[data-verdict]")) {
    button.addEventListener("click", () => judge(button.dataset.verdict));
  }
  showVerdicts(found.verdicts);
  find("neighbours").replaceChildren(
    ...found.neighbours.map((near) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.dir = "auto";
      button.textContent = `${near.start_s.toFixed(2)} s  ${near.speaker.split("-").pop()}${near.kept ? "" : " (dropped)"}  ${near.text}`;
      if (near.utterance_id === id) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => go({ open: near.utterance_id }));
      item.append(button);
      return item;
    }));
}

function showVerdicts(given) {
  find("verdicts").textContent = given
    .map((each) => `${each.reviewer || "you"}: ${each.verdict}${each.text ? ` (${each.text})` : ""}`)
    .join("; ");
  const last = given.length ? given[given.length - 1].verdict : "";
  for (const button of find("card").querySelectorAll("[data-verdict]")) {
    button.setAttribute("aria-pressed", String(button.dataset.verdict === last));
  }
}

async function judge(verdict, text) {
  if (!opened) return;
  const about = { utterance_id: opened, verdict };
  if (text) about.text = text;
  await ask("/api/verdicts", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(about),
  });
  const found = await ask("/api/utterance/" + encodeURIComponent(opened));
  showVerdicts(found.verdicts);
}

function step(by) {
  const at = rows.findIndex((row) => row.utterance_id === opened);
  const next = rows[at < 0 ? 0 : at + by];
  if (next) go({ open: next.utterance_id }, true);
  else if (by > 0 && state().offset + rows.length < total) go({ offset: state().offset + rows.length, open: "" });
}

const quoted = (text) => `'${text.replaceAll("'", "''")}'`;

// A row of a list, whose words lead to the utterances that have them.
function entry(times, words, condition) {
  const tr = document.createElement("tr");
  [times, ...words].forEach((value, place) => {
    const td = document.createElement("td");
    if (place === 0) td.className = "n";
    if (place === 1) {
      const button = document.createElement("button");
      button.type = "button";
      button.dir = "auto";
      button.textContent = value;
      button.addEventListener("click", () => go({ where: condition, offset: 0, open: "" }));
      td.append(button);
    } else td.textContent = value;
    tr.append(td);
  });
  return tr;
}

async function toggle(name, fill) {
  const section = find(name);
  section.hidden = !section.hidden;
  find("show-" + name).setAttribute("aria-expanded", String(!section.hidden));
  if (section.hidden) return;
  try {
    fill(await ask(`/api/${name}?` + query(["where"])));
  } catch (error) {
    section.hidden = true;
    find("error").textContent = error.message;
    find("error").hidden = false;
  }
}

const showDisputes = () =>
  toggle("disputes", (found) =>
    find("disputes").querySelector("tbody").replaceChildren(
      ...found.map((each) =>
        entry(each.count, [each.heard_first, each.first, each.heard_second, each.second],
          `utterance_id in (${each.utterances.map(quoted).join(", ")})`))));

// What a word may not touch on either side, as the server cuts words.
const whole = (column, word) =>
  `regexp_matches(lower(${column}), ${quoted(`(^|[^\\p{L}\\p{N}])${word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}($|[^\\p{L}\\p{N}])`)})`;
const shown = (character) =>
  `${character}  U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

const showVocabulary = () =>
  toggle("vocabulary", (found) => {
    find("words").replaceChildren(
      ...found.words.map((each) => entry(each.times, [each.word], whole("text", each.word))));
    find("characters").replaceChildren(
      ...found.characters.map((each) =>
        entry(each.times, [shown(each.character)], `contains(text, ${quoted(each.character)})`)));
    find("alone").replaceChildren(
      ...found.alone.map((each) =>
        entry(each.times, [each.word, each.asr], whole(`"heard_${each.asr}"`, each.word))));
  });

find("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  go({ where: find("where").value, offset: 0, open: "" });
});
find("clear").addEventListener("click", () => go({ where: "", offset: 0, open: "" }));
find("show-disputes").addEventListener("click", showDisputes);
find("show-vocabulary").addEventListener("click", showVocabulary);
find("earlier").addEventListener("click", () => go({ offset: Math.max(0, state().offset - 50) }));
find("later").addEventListener("click", () => go({ offset: state().offset + rows.length }));
find("correct").addEventListener("submit", (event) => {
  event.preventDefault();
  judge("wrong", find("said").value);
});
const keys = {
  j: () => step(1),
  k: () => step(-1),
  p: () => {
    const audio = find("card").querySelector("audio");
    if (audio) audio.paused ? audio.play() : audio.pause();
  },
  r: () => judge("right"),
  w: () => judge("wrong"),
  u: () => judge("unsure"),
  c: () => find("said").focus(),
  "/": () => find("where").focus(),
};
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});
addEventListener("popstate", show);
show();
