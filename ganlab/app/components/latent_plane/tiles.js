// Pictures of the plane at places of a grid, kept in one canvas, the longest unused one overwritten.

const SLOTS = 16; // along a side of that canvas

export class Tiles {
  constructor(width, height) {
    [this.width, this.height] = [width, height];
    this.canvas = document.createElement("canvas");
    [this.canvas.width, this.canvas.height] = [SLOTS * width, SLOTS * height];
    this.context = this.canvas.getContext("2d");
    this.slots = new Map(); // key -> slot, the longest unused first
  }

  has(key) {
    return this.slots.has(key);
  }

  // The slot of a new key.
  #take(key) {
    let slot = this.slots.size;
    if (slot >= SLOTS * SLOTS) {
      const [oldest] = this.slots.keys();
      slot = this.slots.get(oldest);
      this.slots.delete(oldest);
    }
    this.slots.set(key, slot);
    return this.#corner(slot);
  }

  #corner(slot) {
    return [(slot % SLOTS) * this.width, Math.floor(slot / SLOTS) * this.height];
  }

  // Keep a picture: ImageData, or a part of an image from (x, y) on.
  put(key, picture) {
    this.context.putImageData(picture, ...this.#take(key));
  }

  copy(key, image, x, y) {
    this.context.drawImage(image, x, y, this.width, this.height, ...this.#take(key), this.width, this.height);
  }

  draw(key, context, x, y, width, height) {
    const slot = this.slots.get(key);
    this.slots.delete(key);
    this.slots.set(key, slot);
    context.drawImage(this.canvas, ...this.#corner(slot), this.width, this.height, x, y, width, height);
  }

  clear() {
    this.slots.clear();
  }
}
