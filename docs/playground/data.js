// What G is to imitate: the point sets of chapters 3 and w1, and what was drawn by hand.
//
// A set has `centres`, places (x, y, kind), and points scatter about them with standard deviation `std`. All
// are divided by `scale`, so that a coordinate has about unit size, as `draw` of chapter 3 does it. `modes`
// says how many centres count as modes; a curve has none, its centres are merely close together.

const ring = () => {
  const centres = Array.from({length: 8}, (_, k) => [Math.cos(k*Math.PI/4), Math.sin(k*Math.PI/4), k]);
  return {centres, std: 0.05, modes: 8, scale: Math.hypot(Math.SQRT1_2, 0.05)};
};

const grid = () => {
  const centres = Array.from({length: 25}, (_, k) => [2*(k % 5) - 4, 2*Math.floor(k/5) - 4, k]);
  return {centres, std: 0.15, modes: 25, scale: Math.hypot(Math.sqrt(8), 0.15)};
};

// The arc from the origin to radius r is nearly proportional to r², so an even r² is an even walk along the
// spiral.
const spiral = () => {
  const centres = Array.from({length: 400}, (_, k) => {
    const r = Math.sqrt((k + 0.5)/400);
    return [r*Math.cos(3*Math.PI*r), r*Math.sin(3*Math.PI*r), 0];
  });
  return {centres, std: 0.02, modes: 0, scale: Math.hypot(0.5, 0.02)};
};

const moons = () => {
  const centres = Array.from({length: 400}, (_, k) => {
    const angle = Math.PI*((k >> 1) + 0.5)/200;
    const sign = k % 2 ? -1 : 1;
    return [sign*(Math.cos(angle) - 0.5), sign*(Math.sin(angle) - 0.25), k % 2];
  });
  const square = (0.75 + 0.5625 - 1/Math.PI)/2;  // the mean of cos and sin over half a circle, 0 and 2/π
  return {centres, std: 0.05, modes: 0, scale: Math.hypot(Math.sqrt(square), 0.05)};
};

const gaussian = () => ({centres: [[0, 0, 0]], std: 0.6, modes: 0, scale: 1});

export const sets = {ring, grid, spiral, moons, gaussian};

// places drawn by hand, each a small cluster
const drawn = places => ({centres: places.map(([x, y]) => [x, y, 0]), std: 0.06, modes: 0, scale: 1});

/** The data of a setting. */
export function dataOf(name, places) {
  const d = name === 'drawn' ? drawn(places) : sets[name]();
  const centres = d.centres.map(([x, y, kind]) => [x/d.scale, y/d.scale, kind]);
  const kinds = new Set(centres.map(([, , kind]) => kind)).size;
  return {centres, std: d.std/d.scale, modes: d.modes, kinds};
}

/** Points of the data, flat (n,2). */
export function draw(data, n, random) {
  const x = new Float64Array(2*n);
  for (let i = 0; i < n; i++) {
    const [a, b] = data.centres[random.below(data.centres.length)];
    x[2*i] = a + data.std*random.normal();
    x[2*i + 1] = b + data.std*random.normal();
  }
  return x;
}
