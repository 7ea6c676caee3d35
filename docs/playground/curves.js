// Curves over the steps.

/** The [lowest, highest] of what is a number; [0, 1] where nothing is. */
export function extent(values) {
  const finite = values.filter(Number.isFinite);
  return finite.length ? [Math.min(...finite), Math.max(...finite)] : [0, 1];
}

/** A number as text of about three digits. */
export function short(v) {
  if (!Number.isFinite(v)) return '–';
  if (v !== 0 && (Math.abs(v) < 0.001 || Math.abs(v) >= 1e5)) return v.toExponential(1);
  return String(Number(v.toPrecision(3)));
}

const left = 40;
const right = 6;
const top = 8;
const bottom = 8;

function drawAxis(c, width, height, low, high, y, colors) {
  c.font = `11px ${colors.font}`;
  c.fillStyle = colors.soft;
  c.textAlign = 'right';
  c.textBaseline = 'middle';
  for (const v of high > low ? [low, high] : [low]) c.fillText(short(v), left - 6, y(v));
  c.strokeStyle = colors.rule;
  c.lineWidth = 1;
  c.beginPath();
  c.moveTo(left, top - 3);
  c.lineTo(left, height - bottom + 3);
  if (low < 0 && high > 0) {
    c.moveTo(left, y(0));
    c.lineTo(width - right, y(0));
  }
  c.stroke();
}

/** One curve; what is no number leaves a gap. */
function drawCurve(c, rows, name, x, y, color) {
  let pen = false;
  c.beginPath();
  for (const row of rows) {
    const known = Number.isFinite(row[name]);
    if (known && pen) c.lineTo(x(row.step), y(row[name]));
    else if (known) c.moveTo(x(row.step), y(row[name]));
    pen = known;
  }
  c.strokeStyle = color;
  c.lineWidth = 1.6;
  c.lineJoin = 'round';
  c.stroke();
}

/** Columns of the history against its steps, on a canvas of this size; `range` is that of the values if it is
 *  not given. */
export function drawCurves(c, width, height, rows, columns, colors, range = null) {
  const [low, high] = range ?? extent(columns.flatMap(([name]) => rows.map(row => row[name])));
  const first = rows.length ? rows[0].step : 0;
  const last = rows.length ? rows.at(-1).step : 1;
  const x = step => left + (width - left - right)*(last > first ? (step - first)/(last - first) : 1);
  const y = v => top + (height - top - bottom)*(high > low ? (high - v)/(high - low) : 0.5);
  c.clearRect(0, 0, width, height);
  drawAxis(c, width, height, low, high, y, colors);
  for (const [name, color] of columns) drawCurve(c, rows, name, x, y, colors[color]);
}
