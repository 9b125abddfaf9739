"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const percent = (share, digits) => (share === null ? "–" : (share * 100).toFixed(digits) + " %");
const grouped = (number, digits = 0) =>
  number.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

// The slider: every figure is read off the table of thresholds.
const { steps, marks, place, unit, per_unit: perUnit } = data.slider;
const slider = find("threshold");
const bars = document.querySelectorAll("#consensus .bar");

function showThreshold() {
  const at = Number(slider.value);
  const step = steps[at];
  const text = percent(step.threshold, 1);
  find("threshold-value").textContent = text;
  slider.setAttribute("aria-valuetext", text);
  find("kept-audio").textContent = grouped(step.kept_s / perUnit, 2) + " " + unit;
  find("kept-count").textContent = grouped(step.kept_utterances) + " utterances";
  find("kept-pwer").textContent = percent(step.mean_pwer, 2);
  find("changes").textContent = grouped(step.change_sides);
  const gained = step.kept_s - steps[place].kept_s;
  find("changes-note").textContent =
    "utterances, against this run" +
    (at === place ? "" : ` (${gained < 0 ? "−" : "+"}${grouped(Math.abs(gained) / perUnit, 2)} ${unit})`);
  find("threshold-line").style.left = marks[at] + "%";
  for (const bar of bars) {
    const below = bar.x.baseVal.value + 0.001 < marks[at];
    bar.setAttribute("class", "bar " + (below ? "s0" : "s1"));
  }
}
slider.addEventListener("input", showThreshold);
find("threshold-reset").addEventListener("click", () => {
  slider.value = place;
  showThreshold();
});
slider.value = place;
showThreshold();

// Samples, one at a time.
const samples = [...document.querySelectorAll(".sample")];
let shown = samples;
let current = 0;

function showSample(index, focus) {
  if (!shown.length) return;
  for (const audio of document.querySelectorAll("audio")) audio.pause();
  current = (index + shown.length) % shown.length;
  for (const sample of samples) sample.hidden = sample !== shown[current];
  find("position").textContent = `${current + 1} of ${shown.length}`;
  if (focus) shown[current].focus({ preventScroll: true });
}

// Verdicts stay in the browser, where it lets us, until they are exported.
const storageName = "gpa-verdicts-" + JSON.stringify(data.run);
const verdicts = new Map();
try {
  for (const [key, verdict] of JSON.parse(localStorage.getItem(storageName) || "[]")) verdicts.set(key, verdict);
} catch {
  // Private windows and some browsers keep nothing for pages from disk.
}

function showVerdicts() {
  for (const sample of samples) {
    for (const button of sample.querySelectorAll("[data-verdict]")) {
      const given = verdicts.get(sample.dataset.key) === button.dataset.verdict;
      button.setAttribute("aria-pressed", String(given));
    }
  }
  find("judged").textContent = `${verdicts.size} judged`;
}

function judge(sample, verdict) {
  const { key } = sample.dataset;
  if (verdicts.get(key) === verdict) verdicts.delete(key);
  else verdicts.set(key, verdict);
  try {
    localStorage.setItem(storageName, JSON.stringify([...verdicts]));
  } catch {
    // Then the export is the only copy.
  }
  showVerdicts();
}

function exportVerdicts() {
  const lines = samples
    .filter((sample) => verdicts.has(sample.dataset.key))
    .map((sample) =>
      JSON.stringify({
        utterance_id: sample.dataset.utterance,
        verdict: verdicts.get(sample.dataset.key),
        key: sample.dataset.key,
        about: sample.dataset.about,
        stratum: sample.dataset.stratum,
      }) + "\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
  link.download = "verdicts.jsonl";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function togglePlay() {
  const audio = shown[current].querySelector("audio");
  if (!audio) return;
  if (audio.paused) audio.play();
  else audio.pause();
}

if (samples.length) {
  for (const sample of samples) {
    const audio = sample.querySelector("audio");
    const head = sample.querySelector(".playhead");
    const move = () => {
      head.hidden = !audio.currentTime;
      head.style.left = (100 * audio.currentTime) / (audio.duration || 1) + "%";
    };
    if (audio) audio.addEventListener("timeupdate", move);
    for (const button of sample.querySelectorAll("[data-verdict]")) {
      button.addEventListener("click", () => judge(sample, button.dataset.verdict));
    }
  }
  find("stratum").addEventListener("change", (event) => {
    const wanted = event.target.value;
    shown = samples.filter((sample) => !wanted || sample.dataset.stratum === wanted);
    showSample(0, false);
  });
  find("next").addEventListener("click", () => showSample(current + 1, false));
  find("previous").addEventListener("click", () => showSample(current - 1, false));
  find("export").addEventListener("click", exportVerdicts);
  const keys = {
    j: () => showSample(current + 1, true),
    k: () => showSample(current - 1, true),
    p: togglePlay,
    r: () => judge(shown[current], "right"),
    w: () => judge(shown[current], "wrong"),
    u: () => judge(shown[current], "unsure"),
    e: exportVerdicts,
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, summary");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  find("stratum").value = "";
  showSample(0, false);
  showVerdicts();
}
