// Sliders along directions of latent space: a large picture and samples, all moved, drawn while a slider is held.
// Generators come from ../generator. What is reported to Python are triggers with lists of values: moved, taken, sample,
// chosen.

const DRAW_MS = 10; // of each frame, for samples
const REST_MS = 200; // after the last change, Python hears the amounts
const views = new WeakMap();

// Rows of float32 numbers, written in base64.
function rows(text, width) {
  const numbers = new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  return Array.from({ length: numbers.length / width }, (_, i) => numbers.subarray(i * width, (i + 1) * width));
}

// z moved by an amount along each of the vectors, into `out`; in float64, as ganlab/directions.py does.
export function moved(z, vectors, amounts, out) {
  for (let k = 0; k < z.length; k++) {
    let sum = z[k];
    for (let i = 0; i < vectors.length; i++) sum += amounts[i] * vectors[i][k];
    out[k] = sum;
  }
  return out;
}

function made(tag, values, ...children) {
  const element = Object.assign(document.createElement(tag), values);
  element.append(...children);
  return element;
}

class View {
  constructor(root) {
    const find = (selector) => root.querySelector(selector);
    Object.assign(this, { root, picture: find(".picture"), samples: find(".samples"), groups: find(".groups") });
    Object.assign(this, { take: find(".take"), note: find(".note"), said: find(".said") });
    this.engine = this.order = null;
    this.inputs = new Map(); // name of a direction -> its input
    this.exact = new Map(); // and its amount, which a link may give finer than a slider's step
    this.waiting = []; // places of pictures that are still to be drawn: 0 the large one, then the samples
    this.drawn = 0;
    find(".reset").onclick = (event) => this.reset(event);
    this.take.onclick = () => {
      clearTimeout(this.resting); // what was on the way is part of what is taken
      this.tell("taken", [this.amounts()]);
    };
  }

  // New data from Python. The sliders stay as they are, unless Python orders other amounts.
  async update(data, tell) {
    [this.data, this.tell] = [data, tell];
    this.width = data.latentDim;
    this.z = rows(data.z, this.width);
    this.y = data.y && rows(data.y, data.numClasses);
    this.vectors = rows(data.vectors, this.width);
    this.out = new Float32Array(this.width);
    this.image = new ImageData(data.width, data.height);
    this.layOut(data);
    if (String(this.order) !== String(data.order)) {
      this.order = data.order;
      for (const [name, input] of this.inputs) this.set(input, data.amounts[name] ?? 0);
    }
    this.note.hidden = !data.reason;
    this.note.textContent = data.reason;
    const engine = data.generator ? await this.generator(data.generator) : null;
    if (this.data !== data) return; // newer ones came meanwhile
    this.engine = engine;
    this.served = null;
    if (data.served) {
      const image = new Image();
      image.src = data.served;
      await image.decode();
      if (this.data === data) this.served = image;
    }
    this.ask();
  }

  async generator(id) {
    while (!globalThis.ganlab) await new Promise(requestAnimationFrame); // its component may come after this one
    if (globalThis.ganlab.isAble()) return globalThis.ganlab.generator(id);
    this.unable(true);
    return null;
  }

  // --- what stands on the page ---------------------------------------------------------------------------------------

  layOut(data) {
    const shape = JSON.stringify([data.sliders, data.groups, data.range, data.names, data.width, data.height]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.laySliders(data);
      this.laySamples(data);
    }
    for (const button of this.groups.querySelectorAll(".name")) {
      button.setAttribute("aria-pressed", String(button.value === data.chosen));
    }
    this.picture.setAttribute("aria-label", data.label);
  }

  laySliders(data) {
    const old = new Map(this.exact), focused = this.root.getRootNode().activeElement?.dataset?.name;
    this.inputs.clear();
    this.exact.clear();
    const fields = data.groups.map(({ title, about }) =>
      made("fieldset", {}, made("legend", { textContent: title, title: about })));
    data.sliders.forEach(({ name, label, about, group }) => {
      const input = made("input", { type: "range", min: -data.range, max: data.range, step: 0.05 });
      const amount = document.createElement("output");
      input.setAttribute("aria-label", `${label}, ${data.groups[group].title}`);
      input.dataset.name = name;
      input.oninput = (event) => this.changed(event);
      input.onchange = () => this.rest();
      input.ondblclick = (event) => {
        this.set(input, 0);
        this.changed(event);
        this.rest();
      };
      const button = made("button", { type: "button", className: "name", value: name, textContent: label, title: about });
      button.onclick = () => this.tell("chosen", [name]);
      fields[group].append(made("div", { className: "row" }, button, input, amount));
      this.inputs.set(name, input);
      this.set(input, old.get(name) ?? data.amounts[name] ?? 0);
    });
    this.groups.replaceChildren(...fields);
    this.inputs.get(focused)?.focus();
  }

  laySamples(data) {
    [this.picture.width, this.picture.height] = [data.width, data.height];
    this.samples.setAttribute("aria-label", "Other pictures, moved as far");
    this.samples.replaceChildren(...data.names.map((name, i) => {
      const canvas = made("canvas", { width: data.width, height: data.height });
      const button = made("button", { type: "button", title: name, onclick: () => this.tell("sample", [i]) }, canvas);
      button.setAttribute("aria-label", name);
      return button;
    }));
  }

  // --- amounts -------------------------------------------------------------------------------------------------------

  // Those that are not 0, by the names of their directions.
  amounts() {
    return Object.fromEntries([...this.exact].filter(([, amount]) => amount));
  }

  set(input, amount) {
    input.value = amount;
    this.show(input, amount);
  }

  show(input, amount) {
    this.exact.set(input.dataset.name, amount);
    const sign = amount > 0 ? "+" : amount < 0 ? "−" : "";
    input.setAttribute("aria-valuetext", amount.toFixed(2));
    const at = 50 + (50 * amount) / this.data.range; // the bar leads from the middle to the thumb
    input.style.setProperty("--from", `${Math.min(50, at)}%`);
    input.style.setProperty("--to", `${Math.max(50, at)}%`);
    input.nextElementSibling.textContent = sign + Math.abs(amount).toFixed(2);
  }

  changed(event) {
    this.show(event.target, Number(event.target.value));
    this.since ??= event.timeStamp;
    this.ask();
  }

  reset(event) {
    for (const input of this.inputs.values()) this.set(input, 0);
    this.since ??= event.timeStamp;
    this.ask();
    this.rest();
  }

  rest() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      const amounts = this.amounts(), said = Object.entries(amounts).map(([name, amount]) => `${name} ${amount}`);
      this.said.textContent = said.length ? `Moved: ${said.join(", ")}.` : "Not moved.";
      this.tell("moved", [amounts, this.order[1]]);
    }, REST_MS);
  }

  // --- drawing -------------------------------------------------------------------------------------------------------

  // Draws all pictures anew: the large one in the next frame, samples as there is time.
  ask() {
    this.waiting = this.z.map((_, i) => i);
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = null;
    const until = performance.now() + DRAW_MS, amounts = this.data.sliders.map(({ name }) => this.exact.get(name));
    while (this.waiting.length && (this.waiting[0] < 2 || performance.now() < until)) {
      this.drawOne(this.waiting.shift(), amounts);
    }
    if (this.waiting.length) this.frame = requestAnimationFrame(() => this.draw());
    else this.picture.dataset.whole = JSON.stringify(this.amounts());
  }

  drawOne(i, amounts) {
    const canvas = i ? this.samples.children[i - 1].firstChild : this.picture, context = canvas.getContext("2d");
    const { width, height } = this.data;
    if (this.engine) {
      this.engine.run(moved(this.z[i], this.vectors, amounts, this.out), this.y && this.y[i], this.image.data);
      context.putImageData(this.image, 0, 0);
    } else if (this.served) {
      context.drawImage(this.served, i * width, 0, width, height, 0, 0, width, height);
    }
    if (i) return;
    this.picture.dataset.drawn = ++this.drawn; // for whoever measures; and how long it took since the event
    if (this.since !== undefined) this.picture.dataset.latency = (performance.now() - this.since).toFixed(2);
    this.since = undefined;
  }

  stop() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.resting);
    this.frame = null;
  }
}

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const root = parentElement.querySelector(".mover");
  if (!views.has(root)) views.set(root, new View(root));
  const view = views.get(root);
  view.unable = (value) => setStateValue("unable", value);
  view.update(data, setTriggerValue);
  return () => view.stop();
}
