// Random numbers from a seed: the same seed, the same match, on every machine.

/** Uniform and normal numbers; the generator is sfc32, which passes the usual tests and is a few lines long.
 *  */
export class Random {
  constructor(seed) {
    this.a = seed | 0;
    this.b = 0x9e3779b9;
    this.c = 0x243f6a88;
    this.count = 1;
    this.spare = NaN;
    for (let i = 0; i < 15; i++) this.uniform();
  }

  /** One number, even in [0,1). */
  uniform() {
    const t = (this.a + this.b + this.count) | 0;
    this.count = (this.count + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = ((this.c << 21) | (this.c >>> 11)) + t | 0;
    return (t >>> 0)/4294967296;
  }

  /** One standard normal number: Box and Muller make two at a time, and the second is kept. */
  normal() {
    const kept = this.spare;
    this.spare = NaN;
    if (kept === kept) return kept;
    const radius = Math.sqrt(-2*Math.log(1 - this.uniform()));
    const angle = 2*Math.PI*this.uniform();
    this.spare = radius*Math.sin(angle);
    return radius*Math.cos(angle);
  }

  /** A whole number from 0 to below n. */
  below(n) { return Math.floor(n*this.uniform()); }

  normals(n) { return Float64Array.from({length: n}, () => this.normal()); }

  uniforms(n) { return Float64Array.from({length: n}, () => this.uniform()); }
}
