// A link to an equation, a statement or a term shows it in a box, by mouse and by keyboard.
"use strict";

const WAIT = 200; // ms over a link until its box opens
const STAY = 300; // ms away from both until it closes: time to move from one to the other
const MARGIN = 8;

let opened = null; // {link, box}
let timer = 0;

// A copy without ids, and without links: the link that opened it leads there.
function content(source) {
  const copied = document.importNode(source.content ?? source, true);
  const box = document.createElement("div");
  box.append(copied);
  for (const mark of box.querySelectorAll(".headerlink, script")) mark.remove();
  for (const link of box.querySelectorAll("a")) link.replaceWith(...link.childNodes);
  for (const named of box.querySelectorAll("[id], [tabindex]:not(svg)")) {
    named.removeAttribute("id");
    named.removeAttribute("tabindex");
  }
  return box;
}

// Below the link, or above where there is more room; never over an edge of the window.
function placePreview() {
  if (!opened) return;
  const {link, box} = opened;
  const at = link.getClientRects()[0] ?? link.getBoundingClientRect();
  const below = innerHeight - at.bottom - 2 * MARGIN;
  const above = at.top - 2 * MARGIN;
  const under = below >= box.scrollHeight || below >= above;
  box.style.maxHeight = `${Math.max(96, under ? below : above)}px`;
  if (box.scrollHeight > box.clientHeight + 1) box.tabIndex = 0;
  const width = document.documentElement.clientWidth;
  box.style.left = `${Math.max(MARGIN, Math.min(at.left, width - box.offsetWidth - MARGIN))}px`;
  box.style.top = `${under ? at.bottom + MARGIN / 2 : at.top - box.offsetHeight - MARGIN / 2}px`;
}

function closePreview() {
  clearTimeout(timer);
  if (!opened) return;
  opened.link.removeAttribute("aria-describedby");
  opened.box.remove();
  opened = null;
}

function showPreview(link) {
  clearTimeout(timer);
  if (opened?.link === link) return;
  closePreview();
  const source = document.getElementById(link.dataset.preview);
  if (!source) return;
  const box = content(source);
  box.id = "preview";
  box.className = "preview";
  box.popover = "manual";
  box.setAttribute("role", "tooltip");
  link.after(box);
  link.setAttribute("aria-describedby", box.id);
  opened = {link, box};
  box.showPopover();
  placePreview();
}

function closeSoon() {
  clearTimeout(timer);
  timer = setTimeout(closePreview, STAY);
}

const linkOf = (event) => event.target.closest?.("a[data-preview]");
const inside = (node) => Boolean(opened && (opened.link.contains(node) || opened.box.contains(node)));
const held = () => Boolean(opened && (opened.link.matches(":focus-visible") || opened.box.contains(document.activeElement)));

function pointed(event) {
  if (event.pointerType === "touch") return;
  const link = linkOf(event);
  if (link && opened?.link !== link) {
    clearTimeout(timer);
    timer = setTimeout(() => showPreview(link), WAIT);
  } else if (inside(event.target)) {
    clearTimeout(timer);
  } else if (opened && !held()) {
    closeSoon();
  } else if (!opened) {
    clearTimeout(timer);
  }
}

function focused(event) {
  const link = linkOf(event);
  if (link?.matches(":focus-visible")) showPreview(link);
  else if (!inside(event.target)) closePreview();
}

if (HTMLElement.prototype.showPopover) {
  document.addEventListener("pointerover", pointed);
  document.documentElement.addEventListener("pointerleave", () => { if (!held()) closeSoon(); });
  document.addEventListener("focusin", focused);
  document.addEventListener("focusout", (event) => { if (!event.relatedTarget && !opened?.box.matches(":hover")) closePreview(); });
  document.addEventListener("click", (event) => { if (linkOf(event)) closePreview(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") closePreview(); });
  window.addEventListener("scroll", placePreview, {passive: true, capture: true});
  window.addEventListener("resize", placePreview);
  window.addEventListener("beforeprint", closePreview);
}
