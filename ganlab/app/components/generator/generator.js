// Keeps generators for the other components of the page: draws nothing itself.
//
// globalThis.ganlab.generator(id) is a promise of the one with that id, which may come later.

const KEPT = 24; // generators at once; the one longest unused goes first

const ganlab = (globalThis.ganlab ??= { waiting: new Map(), loaded: new Map() });

function slot(id) {
  if (!ganlab.waiting.has(id)) {
    const one = {};
    one.promise = new Promise((resolve) => (one.resolve = resolve));
    ganlab.waiting.set(id, one);
  }
  return ganlab.waiting.get(id);
}

ganlab.generator = (id) => slot(id).promise;
ganlab.isAble = isAble;

export default async function ({ data }) {
  if (!isAble() || !data?.byteLength) return;
  const id = idOf(data);
  if (ganlab.loaded.has(id)) return;
  ganlab.loaded.set(id, null);
  for (const old of [...ganlab.loaded.keys()].slice(0, -KEPT)) {
    ganlab.loaded.delete(old);
    ganlab.waiting.delete(old);
  }
  slot(id).resolve(await load(data));
}
