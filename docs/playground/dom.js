// Elements of the page.

/** h('button', {class: 'x', onclick: f}, 'text', child, ...). */
export function h(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) e.addEventListener(name.slice(2), value);
    else if (value !== false) e.setAttribute(name, value === true ? '' : value);
  }
  e.append(...children);
  return e;
}

/** The context of a canvas in CSS pixels, sharp on any screen, and the size it is shown in. */
export function sized(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const wanted = [Math.round(width*ratio), Math.round(height*ratio)];
  if (canvas.width !== wanted[0] || canvas.height !== wanted[1]) [canvas.width, canvas.height] = wanted;
  const c = canvas.getContext('2d');
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  return {c, width, height};
}

/** The colours of the style sheet, by day or by night. */
export function colorsOf(element) {
  const style = getComputedStyle(element);
  const names = ['ground', 'real', 'fake', 'ink', 'soft', 'rule', 'low', 'high'];
  const colors = Object.fromEntries(names.map(name => [name, style.getPropertyValue(`--pg-${name}`).trim()]));
  return {...colors, low: Number(colors.low), high: Number(colors.high), font: style.fontFamily};
}
