// The generator's arithmetic for the browser, in AssemblyScript with 128-bit SIMD. kernel.wasm is built from it by
//
//   npx --package assemblyscript@0.27 asc kernel.ts --outFile kernel.wasm -O3 --converge --noAssert \
//     --runtime stub --use abort= --importMemory --enable simd
//
// Maps are rows of pixels, a pixel's channels side by side, in float32. Whoever calls has put zeros around each map and
// padded channels to eights (ganlab/browser_program.py), so that nothing here looks for edges. All addresses, and the
// strides `…Row` and `…Col` from one row or pixel to the next, are in bytes. Every function ends in
// max(v, slope * v): leaky ReLU, ReLU for slope 0, nothing for slope 1.

// @ts-ignore: decorator
@inline function activated(v: v128, slope: v128): v128 {
  return f32x4.max(v, f32x4.mul(v, slope));
}

// Correlation: each of rows x cols outputs is a bias plus `height` runs of `run` numbers of x (pixels side by side, all
// their channels), times w[block][height][run][8]. Four pixels at a time by eight channels: as many sums as hide the
// latency of an addition, and no more than there are registers.
export function conv(
  x: usize, xRow: usize, xCol: usize, w: usize, b: usize, y: usize, yRow: usize, yCol: usize,
  rows: usize, cols: usize, height: usize, run: usize, blocks: usize, slope: f32,
): void {
  const leak = f32x4.splat(slope), two = xCol + xCol, three = two + xCol;
  for (let block: usize = 0; block < blocks; block++) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    for (let i: usize = 0; i < rows; i++) {
      for (let j: usize = 0; j < cols; j += 4) {
        let s00 = b0, s01 = b1, s10 = b0, s11 = b1, s20 = b0, s21 = b1, s30 = b0, s31 = b1;
        let q = w;
        for (let t: usize = 0; t < height; t++) {
          let p = x + (i + t) * xRow + j * xCol;
          for (const end = p + (run << 2); p < end; p += 4, q += 32) {
            const w0 = v128.load(q), w1 = v128.load(q, 16);
            let v = v128.load32_splat(p);
            s00 = f32x4.add(s00, f32x4.mul(v, w0)); s01 = f32x4.add(s01, f32x4.mul(v, w1));
            v = v128.load32_splat(p + xCol);
            s10 = f32x4.add(s10, f32x4.mul(v, w0)); s11 = f32x4.add(s11, f32x4.mul(v, w1));
            v = v128.load32_splat(p + two);
            s20 = f32x4.add(s20, f32x4.mul(v, w0)); s21 = f32x4.add(s21, f32x4.mul(v, w1));
            v = v128.load32_splat(p + three);
            s30 = f32x4.add(s30, f32x4.mul(v, w0)); s31 = f32x4.add(s31, f32x4.mul(v, w1));
          }
        }
        const left = cols - j; // the last four may reach beyond the map: what is there stays
        let o = y + i * yRow + j * yCol;
        v128.store(o, activated(s00, leak)); v128.store(o, activated(s01, leak), 16);
        if (left > 1) { o += yCol; v128.store(o, activated(s10, leak)); v128.store(o, activated(s11, leak), 16); }
        if (left > 2) { o += yCol; v128.store(o, activated(s20, leak)); v128.store(o, activated(s21, leak), 16); }
        if (left > 3) { o += yCol; v128.store(o, activated(s30, leak)); v128.store(o, activated(s31, leak), 16); }
      }
    }
    w += height * run << 5; b += 32; y += 32;
  }
}

// y = b + x[n] @ w, as `rows` rows of `blocks` eights each; w[row][block][n][8].
export function linear(
  x: usize, n: usize, w: usize, b: usize, y: usize, yRow: usize, rows: usize, blocks: usize, slope: f32,
): void {
  const leak = f32x4.splat(slope), end = x + (n << 2);
  for (let i: usize = 0; i < rows; i++, y += yRow) {
    for (let o = y, last = y + (blocks << 5); o < last; o += 32, b += 32) {
      let s0 = v128.load(b), s1 = v128.load(b, 16);
      for (let p = x; p < end; p += 4, w += 32) {
        const v = v128.load32_splat(p);
        s0 = f32x4.add(s0, f32x4.mul(v, v128.load(w))); s1 = f32x4.add(s1, f32x4.mul(v, v128.load(w, 16)));
      }
      v128.store(o, activated(s0, leak)); v128.store(o, activated(s1, leak), 16);
    }
  }
}

// y = x * scale + shift for each of `channels`; with up = 1 each pixel of x is 2 x 2 of y's. rows and cols are y's.
export function affine(
  x: usize, xRow: usize, y: usize, yRow: usize, rows: usize, cols: usize, channels: usize,
  scale: usize, shift: usize, up: usize, slope: f32,
): void {
  const leak = f32x4.splat(slope), size = channels << 2;
  for (let i: usize = 0; i < rows; i++) {
    for (let j: usize = 0; j < cols; j++) {
      const p = x + (i >> up) * xRow + (j >> up) * size, o = y + i * yRow + j * size;
      for (let k: usize = 0; k < size; k += 16) {
        const v = f32x4.add(f32x4.mul(v128.load(p + k), v128.load(scale + k)), v128.load(shift + k));
        v128.store(o + k, activated(v, leak));
      }
    }
  }
}

// y += x; with up = 1 each pixel of x is added to 2 x 2 of y's. rows and cols are y's.
export function add(
  x: usize, xRow: usize, y: usize, yRow: usize, rows: usize, cols: usize, channels: usize, up: usize,
): void {
  const size = channels << 2;
  for (let i: usize = 0; i < rows; i++) {
    for (let j: usize = 0; j < cols; j++) {
      const p = x + (i >> up) * xRow + (j >> up) * size, o = y + i * yRow + j * size;
      for (let k: usize = 0; k < size; k += 16) v128.store(o + k, f32x4.add(v128.load(o + k), v128.load(p + k)));
    }
  }
}
