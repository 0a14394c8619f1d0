// Starts reveal.js; text that is longer than its slide gets smaller until it fits.
"use strict";

const LEAST = 33, MOST = 125;

function fit(slide) {
  for (let size = slide.matches(".figure, .title") ? 100 : MOST; size >= LEAST; size -= 3) {
    slide.style.fontSize = `${size}%`;
    if (slide.scrollHeight <= slide.clientHeight + 1 && slide.scrollWidth <= slide.clientWidth + 1) return;
  }
}

Reveal.initialize({
  width: 1280,
  height: 720,
  margin: 0.04,
  center: false,
  display: "flex",
  hash: true,
  slideNumber: "c/t",
  transition: "none",
  plugins: [RevealNotes],
}).then(() => fit(Reveal.getCurrentSlide()));
Reveal.on("slidechanged", (event) => fit(event.currentSlide));
