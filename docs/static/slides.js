// Turn the slides, scale the stage to the window, and shrink what would not fit. Without this script all slides stand below each other.
const parsed = new Promise(done => document.addEventListener('DOMContentLoaded', done));
window.MathJax = {
  options: {enableMenu: false},
  // A slow machine can come to the formulas before the slides are known, and to the letters of formulas after that.
  startup: {pageReady: () => MathJax.startup.defaultPageReady().then(() => parsed).then(() => document.fonts.ready).then(fitAll)},
};
let slides = [], at = 0;
const body = () => document.body;
const fits = s => s.querySelector('.body').scrollHeight <= s.querySelector('.body').clientHeight + 1 && s.scrollHeight <= s.clientHeight + 1;

function fit(slide) {
  const text = slide.querySelector('.body');
  let size = 1;
  while (!fits(slide) && size > .45) {
    size -= .05;
    text.style.zoom = size;
  }
}
function fitAll() {
  slides.forEach(fit);
  body().dataset.ready = 'yes';
}
function show(k, replace = false) {
  at = Math.max(0, Math.min(slides.length - 1, k));
  slides.forEach((s, i) => s.classList.toggle('now', i === at));
  document.getElementById('place').textContent = `${at + 1} / ${slides.length}`;
  document.getElementById('bar').style.width = `${100*(at + 1)/slides.length}%`;
  if (location.hash !== `#${at + 1}`) history.replaceState(null, '', `#${at + 1}`);
}
function scale() {
  const s = Math.min(innerWidth/1280, innerHeight/720);
  document.getElementById('stage').style.transform = `scale(${s})`;
}
const fromHash = () => show((parseInt(location.hash.slice(1)) || 1) - 1);
const keys = {
  ArrowRight: () => show(at + 1), ArrowDown: () => show(at + 1), PageDown: () => show(at + 1), ' ': () => show(at + 1), Enter: () => show(at + 1),
  ArrowLeft: () => show(at - 1), ArrowUp: () => show(at - 1), PageUp: () => show(at - 1), Backspace: () => show(at - 1),
  Home: () => show(0), End: () => show(slides.length - 1),
  n: () => body().classList.toggle('noted'),
  f: () => document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen(),
};
parsed.then(() => {
  slides = [...document.querySelectorAll('.slide')];
  body().classList.add('shown');
  scale();
  fromHash();
  addEventListener('resize', scale);
  addEventListener('hashchange', fromHash);
  addEventListener('keydown', e => {
    const act = keys[e.key.length === 1 ? e.key.toLowerCase() : e.key];
    if (!act || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    act();
  });
  addEventListener('click', e => {
    if (e.target.closest('a, .notes') || getSelection().toString()) return;
    show(e.clientX < innerWidth/3 ? at - 1 : at + 1);
  });
});
