// ganlab/lattice.py in JavaScript: the same z from the same seed and place. What and why is said there.

// Philox4x32-10: four numbers of 32 bits from a counter of four and a key of two.
export function philox(c0, c1, c2, c3, k0, k1) {
  for (let round = 0; round < 10; round++) {
    const a = Math.imul(0xd2511f53, c0), b = Math.imul(0xcd9e8d57, c2);
    [c0, c2] = [high(0xcd9e8d57, c2) ^ c1 ^ k0, high(0xd2511f53, c0) ^ c3 ^ k1];
    [c1, c3] = [b, a];
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

// The upper 32 of 64 bits of a product: halves of b, so that a double holds each part exactly.
function high(a, b) {
  const low = (b & 0xffff) * a, upper = (b >>> 16) * a;
  return Math.floor((upper + Math.floor(low / 65536)) / 65536);
}

// N(0, 1) at the crossing i, j: Float64Array (dim).
export function noise(seed, i, j, dim) {
  const z = new Float64Array(dim);
  for (let k = 0; k < dim; k += 4) {
    const u = philox(i, j, k / 4, 0, seed, 0).map((bits) => (bits + 0.5) / 2 ** 32);
    for (const pair of [0, 2]) {
      const radius = Math.sqrt(-2 * Math.log(u[pair])), angle = 2 * Math.PI * u[pair + 1];
      if (k + pair < dim) z[k + pair] = radius * Math.cos(angle);
      if (k + pair + 1 < dim) z[k + pair + 1] = radius * Math.sin(angle);
    }
  }
  return z;
}

// Weights of the four crossings around u, whose squares sum to 1.
export function blend(u) {
  const t = u - Math.floor(u);
  const w = [(1 - t) ** 3, 4 - 6 * t * t + 3 * t ** 3, 1 + 3 * (t + t * t - t ** 3), t ** 3];
  const norm = Math.hypot(...w);
  return w.map((x) => x / norm);
}

// A plane: (x, y, z) fills z, Float32Array (dim), with the point at x, y, times `truncation`.
export function endless(seed, dim, prior) {
  const known = new Map(); // noise of crossings
  const at = (i, j) => {
    const key = `${i},${j}`;
    if (!known.has(key)) {
      if (known.size > 4096) known.clear();
      known.set(key, noise(seed, i, j, dim));
    }
    return known.get(key);
  };
  const sum = new Float64Array(dim);
  return (x, y, z, truncation = 1) => {
    const right = blend(x), down = blend(y), i = Math.floor(x) - 1, j = Math.floor(y) - 1;
    sum.fill(0);
    for (let a = 0; a < 4; a++) {
      for (let b = 0; b < 4; b++) {
        const w = right[a] * down[b], near = at(i + a, j + b);
        for (let k = 0; k < dim; k++) sum[k] += w * near[k];
      }
    }
    for (let k = 0; k < dim; k++) z[k] = truncation * (prior === "uniform" ? erf(sum[k] / Math.SQRT2) : sum[k]);
    return z;
  };
}

// The plane through three points (dim), likewise.
export function through(a, b, c) {
  const [na, nb, nc] = [a, b, c].map((v) => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0)));
  return (x, y, z, truncation = 1) => {
    let square = 0;
    for (let k = 0; k < z.length; k++) {
      z[k] = a[k] + x * (b[k] - a[k]) + y * (c[k] - a[k]);
      square += z[k] * z[k];
    }
    const right = Math.min(Math.max(x, 0), 1), down = Math.min(Math.max(y, 0), 1);
    const top = (1 - right) * na + right * nb, bottom = (1 - right) * nc + (right * (nb + nc)) / 2;
    const factor = (truncation * ((1 - down) * top + down * bottom)) / (Math.sqrt(square) || 1);
    for (let k = 0; k < z.length; k++) z[k] *= factor;
    return z;
  };
}

// The point of the closed curve through key frames [[x, y], …] at time t.
export function along(keys, t) {
  const n = keys.length, s = (((t % 1) + 1) % 1) * n, k = Math.floor(s) % n, u = s - Math.floor(s);
  const [p0, p1, p2, p3] = [-1, 0, 1, 2].map((d) => keys[(k + d + n) % n]);
  return [0, 1].map((i) => {
    const square = 2 * p0[i] - 5 * p1[i] + 4 * p2[i] - p3[i], cube = 3 * (p1[i] - p2[i]) + p3[i] - p0[i];
    return p1[i] + (u * (p2[i] - p0[i] + u * (square + u * cube))) / 2;
  });
}

function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - series * Math.exp(-x * x));
}
