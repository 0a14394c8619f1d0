// Small things that a page does for its reader; it can be read without any of them.
"use strict";

// A box that is wider than the page is reached by Tab and scrolled by the arrows.
const BOXES = {
  "div.math > .formula, span.math.wide": "Formula",
  "div.highlight pre, .cell_output pre": "Code or output",
  ".cell_output, .cell_output > .output, .pst-scrollable-table-container": "Table or figure",
};

// Its right edge fades while more follows there; so does a figure's on a telephone.
function fade(box) {
  const more = box.scrollWidth - box.clientWidth - box.scrollLeft > 1;
  box.classList.toggle("more", more && ["auto", "scroll"].includes(getComputedStyle(box).overflowX));
}

function reachBoxes() {
  for (const [selector, name] of Object.entries(BOXES)) {
    for (const box of document.querySelectorAll(`.bd-article :is(${selector})`)) {
      const scrolls = box.scrollWidth > box.clientWidth + 1;
      box.classList.toggle("scrolls", scrolls);
      fade(box);
      if (scrolls) {
        box.tabIndex = 0;
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", `${name}, scrolls sideways`);
      } else if (box.getAttribute("role") === "group") {
        for (const attribute of ["tabindex", "role", "aria-label"]) box.removeAttribute(attribute);
      }
    }
  }
  document.querySelectorAll(".bd-article figure > a").forEach(fade);
}

// A link to something folded unfolds it.
function unfoldTarget() {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (target) target.scrollIntoView();
}

// On paper: solutions and code as the switches of the menu say.
const PRINTED = {solutions: "details.solution", code: "details.hide"};

function printed(kind) {
  const box = document.querySelector(`input[data-print="${kind}"]`);
  return box ? box.checked : kind === "solutions";
}

function unfoldForPrint() {
  for (const [kind, selector] of Object.entries(PRINTED)) {
    document.documentElement.classList.toggle(`print-without-${kind}`, !printed(kind));
    for (const fold of document.querySelectorAll(selector)) {
      fold.dataset.before = fold.open ? "open" : "";
      fold.open = printed(kind) || fold.open;
    }
  }
}

function foldAgain() {
  for (const fold of document.querySelectorAll("details[data-before]")) {
    fold.open = fold.dataset.before === "open";
    delete fold.dataset.before;
  }
}

// The theme takes the focus off its buttons; whoever came by keyboard would start over.
function keepFocus(event) {
  const button = event.target.closest(".theme-switch-button, .search-button, .sidebar-toggle");
  if (button && event.detail === 0 && !document.querySelector("dialog[open]")) button.focus({preventScroll: true});
}

let waiting = 0;
function soon(action) {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(action);
}

window.addEventListener("resize", () => soon(reachBoxes));
window.addEventListener("load", reachBoxes);
document.addEventListener("scroll", (event) => event.target.closest?.(".bd-article") && fade(event.target), true);
document.addEventListener("toggle", () => soon(reachBoxes), true);
document.addEventListener("click", keepFocus);
window.addEventListener("hashchange", unfoldTarget);
window.addEventListener("beforeprint", unfoldForPrint);
window.addEventListener("afterprint", foldAgain);
if (location.hash) window.addEventListener("load", unfoldTarget);
