// The flow of numbers, as a diagram: latents through G to fakes, fakes and real points through D to the
// losses, and the gradient back to the player whose move it is.

const wires = `
  <g class="wire"><path class="on-D on-G" d="M30 62H52M98 62H120M170 62L196 52M246 47H270"/>
  <path class="on-D" d="M170 24L196 40"/></g>
  <g class="back"><path class="for-D" d="M288 34C288 8 222 8 222 30"/>
  <path class="for-G" d="M288 62C280 88 222 88 222 66M206 66C186 90 90 90 76 80"/></g>`;
const boxes = `
  <g><rect class="G" x="52" y="46" width="46" height="32" rx="6"/>
  <rect class="D" x="196" y="31" width="50" height="34" rx="6"/></g>
  <g><text x="18" y="66">z</text><text x="75" y="66">G</text><text x="145" y="66" class="fake">fake</text>
  <text x="145" y="28" class="real">real</text><text x="221" y="52">D</text>
  <text x="300" y="44" class="of-D">loss D</text><text x="300" y="59" class="of-G">loss G</text></g>`;
const said = 'Latents go through G to fakes, fakes and real points through D to the losses; ' +
  'the gradient flows back to the player whose move it is';

export const flow = `<svg viewBox="0 0 330 92" role="img" aria-label="${said}">${wires}${boxes}</svg>`;
