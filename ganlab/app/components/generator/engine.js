// A generator in the browser: `load` the bytes of ganlab/browser_program.py, then `run` z to a picture.
// KERNEL, the WebAssembly of kernel.ts, is put before this file.

const PAGE = 65536; // bytes, of WebAssembly's memory

// Whether this browser has WebAssembly with SIMD.
export function isAble() {
  return typeof WebAssembly === "object" && WebAssembly.validate(KERNEL);
}

// A generator: { id, latentDim, numClasses, width, height, channels, multiplyAdds, run }.
//
// run(z, y, rgba): z Float32Array (latentDim), y Float32Array (numClasses) of class weights that sum to 1, or null if
// there are no classes; fills and returns rgba, Uint8ClampedArray (width * height * 4), with the picture.
export async function load(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = 4 + view.getUint32(0, true);
  const program = JSON.parse(new TextDecoder().decode(bytes.subarray(4, start)));
  const memory = new WebAssembly.Memory({ initial: Math.ceil(program.bytes / PAGE) + 1 });
  const { instance } = await WebAssembly.instantiate(KERNEL, { env: { memory } });
  const numbers = new Float32Array(memory.buffer);
  let from = start;
  for (const [at, size] of program.arrays) {
    for (let i = at / 4; i < at / 4 + size; i++, from += 2) numbers[i] = HALVES[view.getUint16(from, true)];
  }

  function tanh(at, height, width, channels, row, col) {
    for (let i = 0; i < height; i++) {
      for (let j = 0; j < width; j++) {
        const pixel = (at + i * row + j * col) / 4;
        for (let k = pixel; k < pixel + channels; k++) numbers[k] = Math.tanh(numbers[k]);
      }
    }
  }

  const functions = { ...instance.exports, tanh };
  const calls = program.calls.map(([name, ...values]) => [functions[name], values]);
  const { at, height, width, channels, row, col } = program.picture;

  function run(z, y, rgba = new Uint8ClampedArray(width * height * 4)) {
    numbers.set(z, program.z / 4);
    if (program.num_classes) numbers.set(y, program.y / 4);
    for (const [call, values] of calls) call(...values);
    for (let i = 0, out = 0; i < height; i++) {
      for (let j = 0; j < width; j++, out += 4) {
        const pixel = (at + i * row + j * col) / 4;
        for (let k = 0; k < 3; k++) rgba[out + k] = (numbers[pixel + (channels === 1 ? 0 : k)] + 1) * 127.5;
        rgba[out + 3] = 255;
      }
    }
    return rgba;
  }

  return {
    id: program.id,
    latentDim: program.latent_dim,
    numClasses: program.num_classes,
    multiplyAdds: program.multiply_adds,
    width, height, channels, run,
  };
}

// The value of every 16-bit float.
const HALVES = Float32Array.from({ length: 65536 }, (_, bits) => {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
});

// The id in the header of such bytes.
export function idOf(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  return JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))).id;
}
