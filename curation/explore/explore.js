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
      (found.differing.length ? `, reviewers differ on ${found.differing.length}` : "");
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

async function showDisputes() {
  find("disputes").hidden = !find("disputes").hidden;
  if (find("disputes").hidden) return;
  const found = await ask("/api/disputes?" + query(["where"]));
  find("disputes").querySelector("tbody").replaceChildren(
    ...found.map((each) => {
      const tr = document.createElement("tr");
      for (const value of [each.count, each.heard_first, each.first, each.heard_second, each.second]) {
        const td = document.createElement("td");
        td.textContent = value;
        tr.append(td);
      }
      const ids = each.utterances.map((id) => `'${id}'`).join(", ");
      tr.addEventListener("click", () => go({ where: `utterance_id in (${ids})`, offset: 0, open: each.utterances[0] }));
      return tr;
    }));
}

find("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  go({ where: find("where").value, offset: 0, open: "" });
});
find("clear").addEventListener("click", () => go({ where: "", offset: 0, open: "" }));
find("show-disputes").addEventListener("click", showDisputes);
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
