// MathJax outside a browser: what it asks of its surroundings, and a function that sets a formula.
var global = globalThis, self = globalThis;
var console = {log() {}, warn() {}, error() {}, info() {}};
var setTimeout = (action) => { Promise.resolve().then(action); };
var failures = [];

// A script of MathJax, out of those that were handed over.
function loadFile(name) {
  const script = scripts[name.replace(/^\/+/, "").replace(/\.js$/, "")];
  if (script === undefined) throw new Error(`there is no ${name}`);
  (0, eval)(script);
}

globalThis.MathJax = {
  loader: {
    paths: {mathjax: ""},
    require: (name) => { loadFile(name); return {}; },
    load: PARTS,
    failed: (error) => { failures.push(String(error.message)); },
  },
  options: {enableAssistiveMml: true},
  tex: CONFIGURATION,
  svg: {fontCache: "global"},
  startup: {typeset: false},
};

// An attribute that only MathJax's own menu would read.
const idle = (name) => name.startsWith("data-") || ["xmlns", "xmlns:xlink", "role", "stretchy", "unselectable"].includes(name);

// Groups without attributes give way to their parts; a group's shift goes to a part that is alone.
function lighten(node) {
  if (!node.children) return;
  for (const name of Object.keys(node.attributes)) if (idle(name)) delete node.attributes[name];
  if (node.kind === "use") {
    node.attributes.href = node.attributes["xlink:href"];
    delete node.attributes["xlink:href"];
  }
  node.children.forEach(lighten);
  const flat = [];
  for (const child of node.children) {
    if (child.kind === "g" && Object.keys(child.attributes).length === 0) flat.push(...child.children);
    else if (child.kind === "mrow" && child.children.length === 1) flat.push(child.children[0]);
    else flat.push(child);
  }
  for (const child of flat) child.parent = node;
  node.children = flat;
  const [only] = flat;
  const given = Object.keys(node.attributes);
  if (node.kind === "g" && flat.length === 1 && only.kind === "use" && given.length === 1 &&
      given[0] === "transform" && !only.attributes.transform) {
    node.kind = "use";
    node.attributes = {...node.attributes, ...only.attributes};
    node.children = [];
  }
}

const glyphs = {};

function collect(node) {
  if (!node.children) return;
  if (node.kind === "path" && node.attributes.id) glyphs[node.attributes.id] = node.attributes.d;
  node.children.forEach(collect);
}

// A reader of TeX that knows the configuration and nothing of the formulas before: what they define,
// and their labels, MathJax would keep.
function forget() {
  const {adaptor, document} = MathJax.startup;
  const [input] = MathJax.startup.getInputJax();
  input.setAdaptor(adaptor);
  input.setMmlFactory(document.mmlFactory);
  document.inputJax[0] = input;
}

// The drawing, the same formula as MathML, and what MathJax did not understand; as JSON.
function set(tex, display) {
  const adaptor = MathJax.startup.adaptor;
  forget();
  const node = MathJax.tex2svg(tex, {display});
  const error = (adaptor.outerHTML(node).match(/data-mjx-error="([^"]*)"/) || ["", ""])[1];
  lighten(node);
  const [svg, assistive] = node.children;
  return JSON.stringify([adaptor.outerHTML(svg), adaptor.innerHTML(assistive), error]);
}

// The outlines that the drawings so far refer to: id -> path.
function outlines() {
  collect(MathJax.startup.output.fontCache.getCache());
  return JSON.stringify(glyphs);
}
