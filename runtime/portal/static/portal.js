// What moves in the portal. Every page can be read without it.
"use strict";

// The theme that was chosen here comes before the first paint.
const THEME = "inferry-theme";
function chosen() {
  try { return localStorage.getItem(THEME); } catch { return null; }
}
function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
if (chosen()) document.documentElement.dataset.theme = chosen();

function themeSwitch() {
  const button = document.querySelector("[data-theme-switch]");
  if (!button) return;
  button.hidden = false;
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  show();
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try { localStorage.setItem(THEME, theme); } catch { /* it lasts as long as the page */ }
    show();
  });
}

function say(text) {
  const place = document.getElementById("said");
  if (place) place.textContent = text;
}

function copying() {
  if (!navigator.clipboard) return; // only with TLS or on this machine
  const show = (within) => {
    for (const button of within.querySelectorAll("[data-copy]")) button.hidden = false;
  };
  show(document);
  document.addEventListener("portal:changed", (event) => show(event.target));
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      say("Copied");
    } catch { say("It could not be copied"); }
  });
}

// A part that the server sends anew when it has changed.
function live() {
  for (const part of document.querySelectorAll("[data-live]:not([data-over])")) {
    let badge = stateOf(part);
    const source = new EventSource(part.dataset.live);
    source.addEventListener("part", (event) => {
      if (part.contains(document.activeElement) && document.activeElement.matches("a, button, summary")) {
        part.dataset.waiting = event.data; // who is there by keyboard stays there
        part.addEventListener("focusout", () => setTimeout(() => later(part)), { once: true });
        return;
      }
      replace(part, JSON.parse(event.data));
      const now = stateOf(part);
      if (now && now !== badge) say(`State: ${now}`);
      badge = now;
    });
    source.addEventListener("over", () => source.close());
    addEventListener("pagehide", () => source.close());
  }
}
function stateOf(part) {
  return part.querySelector(".facts .badge")?.textContent ?? "";
}
function later(part) {
  if (part.dataset.waiting && !part.contains(document.activeElement)) {
    replace(part, JSON.parse(part.dataset.waiting));
    delete part.dataset.waiting;
  }
}
function replace(part, text) {
  const focus = part.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  const logs = [...part.querySelectorAll("pre.log")].map((log) => [log.getAttribute("aria-label"), log.scrollTop, atEnd(log)]);
  const sideways = [...part.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  const open = [...part.querySelectorAll("details")].map((each) => each.open);
  part.innerHTML = text;
  part.querySelectorAll(".scroll").forEach((each, number) => { each.scrollLeft = sideways[number] ?? 0; });
  part.querySelectorAll("details").forEach((each, number) => { each.open = open[number] ?? false; });
  for (const log of part.querySelectorAll("pre.log")) {
    const before = logs.find(([label]) => label === log.getAttribute("aria-label"));
    if (before && !before[2]) log.scrollTop = before[1];
    else if ("end" in log.dataset) log.scrollTop = log.scrollHeight;
  }
  if (focus) [...part.querySelectorAll("[aria-label]")].find((each) => each.getAttribute("aria-label") === focus)?.focus({ preventScroll: true });
  part.dispatchEvent(new CustomEvent("portal:changed", { bubbles: true }));
}
function atEnd(log) {
  return log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
}

// The numbers under the pointer.
function hovering() {
  for (const figure of document.querySelectorAll("figure:has(svg[data-chart])")) {
    const svg = figure.querySelector("svg[data-chart]");
    const data = JSON.parse(svg.dataset.chart);
    const [left, top, width, height] = data.frame;
    const rule = document.createElementNS("http://www.w3.org/2000/svg", "path");
    rule.setAttribute("class", "rule");
    const box = document.createElement("div");
    box.className = "hover";
    box.hidden = true;
    figure.append(box);
    svg.addEventListener("pointermove", (event) => {
      const frame = svg.getBoundingClientRect();
      const scale = frame.width / svg.viewBox.baseVal.width;
      const part = ((event.clientX - frame.left) / scale - left) / width;
      if (part < -0.02 || part > 1.02) return hide();
      const sought = data.x[0] + part * (data.x[1] - data.x[0]);
      let nearest = null;
      for (const line of data.lines) for (const x of line.x) {
        if (nearest === null || Math.abs(x - sought) < Math.abs(nearest - sought)) nearest = x;
      }
      if (nearest === null) return hide();
      const at = left + width * (nearest - data.x[0]) / (data.x[1] - data.x[0]);
      rule.setAttribute("d", `M${at} ${top}v${height}`);
      if (!rule.isConnected) svg.append(rule);
      box.replaceChildren(row(`at ${nearest}`));
      for (const line of data.lines) {
        const number = close(line.x, nearest);
        if (number >= 0) box.append(row(`${data.lines.length > 1 ? line.name + ": " : ""}${line.y[number] ?? "NaN"}`));
      }
      box.hidden = false;
      const place = at * scale;
      const inside = figure.clientWidth - box.offsetWidth - 12;
      box.setAttribute("data-side", place > inside ? "left" : "right");
      move(box, Math.max(4, Math.min(place + 14, inside)), event.clientY - figure.getBoundingClientRect().top + 14);
    });
    svg.addEventListener("pointerleave", hide);
    function hide() { box.hidden = true; rule.remove(); }
  }
}
function move(box, x, y) {
  // Through the object model: the policy of the pages allows no style in their text.
  box.style.left = `${x}px`;
  box.style.top = `${y}px`;
}
function row(text) {
  const made = document.createElement("div");
  made.textContent = text;
  return made;
}
function close(xs, sought) {
  let found = -1;
  xs.forEach((x, number) => {
    if (found < 0 || Math.abs(x - sought) <= Math.abs(xs[found] - sought)) found = number;
  });
  return found;
}

document.addEventListener("DOMContentLoaded", () => {
  themeSwitch();
  copying();
  hovering();
  live();
  for (const log of document.querySelectorAll("pre.log[data-end]")) log.scrollTop = log.scrollHeight;
});
