// A black pad on which a pointer draws. Python hears all strokes after each: points from 0 to 1, width, colour.

const NEAR = 0.004; // of the pad: nearer than this to the last, a point is none
const pads = new WeakMap();

class Pad {
  constructor(root) {
    const find = (selector) => root.querySelector(selector);
    Object.assign(this, { sheet: find(".sheet"), canvas: find("canvas"), hint: find(".hint"), ink: find(".ink") });
    Object.assign(this, { width: find(".width"), colour: find(".colour"), fill: find(".fill") });
    Object.assign(this, { undo: find(".undo"), clear: find(".clear") });
    [this.strokes, this.cleared, this.stroke, this.pointer] = [[], [], null, null];
    this.sheet.onpointerdown = (event) => this.begin(event);
    this.sheet.onpointermove = (event) => this.follow(event);
    this.sheet.onpointerup = this.sheet.onpointercancel = (event) => this.end(event);
    this.fill.onclick = () => this.change([...this.strokes, this.pen([])]);
    this.undo.onclick = () => this.change(this.strokes.length ? this.strokes.slice(0, -1) : this.cleared);
    this.clear.onclick = () => this.change([], this.strokes);
    this.observer = new ResizeObserver(() => this.draw());
  }

  update(data, report, isNew) {
    [this.inColour, this.report] = [data.colour, report];
    this.ink.hidden = this.fill.hidden = !data.colour;
    if (isNew) this.strokes = data.strokes; // afterwards the pad knows better than what comes back from Python
    this.observer.observe(this.sheet);
    this.show();
  }

  pen(points) {
    const hex = this.inColour ? this.colour.value : "#ffffff";
    const colour = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    return { points, width: Number(this.width.value), colour };
  }

  place(event) {
    const box = this.sheet.getBoundingClientRect();
    const unit = (u) => Math.round(1e4 * Math.min(1, Math.max(0, u))) / 1e4;
    return [unit((event.clientX - box.x) / box.width), unit((event.clientY - box.y) / box.height)];
  }

  begin(event) {
    if (event.button || this.stroke) return;
    event.preventDefault();
    this.sheet.setPointerCapture(event.pointerId);
    [this.stroke, this.pointer] = [this.pen([this.place(event)]), event.pointerId];
    this.show();
  }

  follow(event) {
    if (!this.stroke || event.pointerId !== this.pointer) return;
    const { points } = this.stroke;
    for (const part of event.getCoalescedEvents?.() ?? [event]) {
      const [x, y] = this.place(part), [lastX, lastY] = points[points.length - 1];
      if (Math.hypot(x - lastX, y - lastY) >= NEAR) points.push([x, y]);
    }
    this.draw();
  }

  end(event) {
    if (!this.stroke || event.pointerId !== this.pointer) return;
    const { stroke } = this;
    this.stroke = null;
    this.change([...this.strokes, stroke]);
  }

  // `cleared`: what undo brings back from an empty pad.
  change(strokes, cleared = []) {
    [this.strokes, this.cleared] = [strokes, cleared];
    this.show();
    this.report(strokes);
  }

  show() {
    const all = this.strokes.length;
    this.hint.hidden = all > 0 || this.stroke !== null;
    this.undo.disabled = !all && !this.cleared.length;
    this.clear.disabled = !all;
    const told = all === 1 ? "one stroke" : `${all} strokes`;
    this.canvas.setAttribute("aria-label", `A pad to draw on with a pointer: ${told}. Without one, choose Upload above.`);
    this.draw();
  }

  draw() {
    const side = Math.round(this.sheet.clientWidth * devicePixelRatio);
    if (!side) return;
    [this.canvas.width, this.canvas.height] = [side, side];
    const context = this.canvas.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, side, side);
    context.lineCap = context.lineJoin = "round";
    for (const { points, width, colour } of [...this.strokes, ...(this.stroke ? [this.stroke] : [])]) {
      context.strokeStyle = context.fillStyle = `rgb(${colour.join(" ")})`;
      if (!points.length) context.fillRect(0, 0, side, side);
      context.lineWidth = width * side;
      context.beginPath();
      points.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](x * side, y * side));
      if (points.length === 1) context.lineTo(points[0][0] * side, points[0][1] * side); // a dot
      context.stroke();
    }
  }
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".pad");
  const isNew = !pads.has(root);
  if (isNew) pads.set(root, new Pad(root));
  const pad = pads.get(root);
  pad.update(data, (strokes) => setStateValue("strokes", strokes), isNew);
  return () => pad.observer.disconnect();
}
