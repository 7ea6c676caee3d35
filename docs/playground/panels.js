// What stands beside the plane: readings, curves and the doctor's verdict.

import {drawCurves, short} from './curves.js';
import {h, sized} from './dom.js';

const charts = [
  ['losses', [['loss_D', 'ink', 'of D'], ['loss_G', 'fake', 'of G']]],
  ['mean logits', [['real_logit', 'real', 'real'], ['fake_logit', 'fake', 'fakes']]],
  ['good samples', [['good', 'real', 'share within 3 std']], [0, 1]],
  ['JS', [['js', 'ink', 'data to fakes, at most log 2']], [0, Math.log(2)]],
];

/** Four charts; `draw` shows a history. */
export function chartPanel() {
  const label = title => ({role: 'img', 'aria-label': `${title} over the steps`});
  const canvases = charts.map(([title]) => h('canvas', label(title)));
  const boxes = charts.map(([title, columns], i) => {
    const names = columns.map(([, color, name]) => h('span', {class: `pg-of-${color}`}, name));
    return h('div', {class: 'pg-chart'}, h('p', {}, h('b', {}, title), ...names), canvases[i]);
  });
  const draw = (history, colors) => charts.forEach(([, columns, range], i) => {
    const {c, width, height} = sized(canvases[i]);
    drawCurves(c, width, height, history, columns, colors, range);
  });
  return {element: h('div', {class: 'pg-charts'}, ...boxes), draw};
}

/** Numbers in large letters; `show` sets them. */
export function readings() {
  const names = {step: 'step', modes: 'modes found', good: 'good samples', js: 'JS'};
  const values = Object.fromEntries(Object.keys(names).map(name => [name, h('b', {}, '–')]));
  const tiles = Object.entries(names).map(([name, text]) => h('div', {}, values[name], h('span', {}, text)));
  const show = (m, {modes, good, js}) => {
    values.step.textContent = m.step.toLocaleString('en');
    values.modes.textContent = m.data.modes ? `${short(modes)} of ${m.data.modes}` : '–';
    values.good.textContent = Number.isFinite(good) ? `${(100*good).toFixed(0)} %` : '–';
    values.js.textContent = Number.isFinite(js) ? js.toFixed(2) : '–';
  };
  return {element: h('div', {class: 'pg-readings'}, ...tiles), show};
}

function findingElement(f, i) {
  const chapter = h('a', {href: `${f.chapter}.html`}, `chapter ${f.chapter.slice(0, 2).replace(/^0/, '')}`);
  const rest = i === 0 ? [h('span', {class: 'pg-advice'}, `Try: ${f.advice} `), 'Read ', chapter, '.'] : [];
  return h('p', {class: `pg-${f.severity}`}, h('b', {}, f.name), `. ${f.evidence} `, ...rest);
}

/** What the doctor has measured, for a match in which nothing is wrong. */
function signs(v) {
  return `finds nothing wrong. D orders ${(100*v.auc).toFixed(0)} % of new pairs rightly, where one that ` +
    `cannot tell has 50 %; real and fake logits lie ${short(v.gap)} apart; the energy distance of fakes ` +
    `from data is ${v.unlike.toFixed(3)} of its greatest value.`;
}

/** The doctor's card; `show` gets findings and vitals, or null before there is anything to judge. */
export function doctorPanel() {
  const text = h('div', {});
  const spoken = h('span', {class: 'pg-spoken', role: 'status'});  // what has changed, without its numbers
  const label = {'aria-label': 'the verdict of the doctor'};
  const element = h('section', {class: 'pg-doctor', ...label}, h('h3', {}, 'The doctor'), text, spoken);
  const show = (findings, v) => {
    const names = (findings ?? []).map(f => f.name).join(', ');
    if (spoken.textContent !== names) spoken.textContent = names;
    element.dataset.severity = findings === null ? 'waits' : findings[0]?.severity ?? 'sound';
    if (findings === null) text.replaceChildren(h('p', {}, 'waits for 100 steps of this setting.'));
    else if (!findings.length) text.replaceChildren(h('p', {}, signs(v)));
    else text.replaceChildren(...findings.slice(0, 3).map(findingElement));
  };
  return {element, show};
}
