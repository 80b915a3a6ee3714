// A wall of pictures on one canvas, and a button over each picture. Used by sprite.js and the time machine.

const STEPS = (columns) => ({ ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns });

// The image that a data URL holds.
async function decoded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

// The pictures, each pixel as a square of equal ones about two device pixels wide, so that nothing is blurred.
function paint(canvas, image, { columns, num, width, height, gap, scale }) {
  const rows = Math.ceil(num / columns);
  const size = [columns * (width * scale + gap) - gap, rows * (height * scale + gap) - gap];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  for (let i = 0; i < num; i++) {
    const x = i % columns, y = Math.floor(i / columns);
    context.drawImage(
      image, x * width, y * height, width, height,
      x * (width * scale + gap), y * (height * scale + gap), width * scale, height * scale,
    );
  }
}

// A button over each picture that has a name; `pick` hears the place of the one that was clicked.
function showButtons(buttons, { label, names, columns, chosen }, pick) {
  buttons.setAttribute("aria-label", label);
  buttons.setAttribute("role", names.length ? "listbox" : "img");
  while (buttons.children.length > names.length) buttons.lastChild.remove();
  while (buttons.children.length < names.length) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "option");
    buttons.append(button);
  }
  const all = [...buttons.children];
  const reachable = chosen ?? 0; // by the tab key: one of them, the arrows lead to the others
  all.forEach((button, i) => {
    button.setAttribute("aria-label", names[i]);
    button.setAttribute("aria-selected", String(i === chosen));
    button.title = names[i];
    button.tabIndex = i === reachable ? 0 : -1;
    button.onclick = () => pick(i);
  });
  buttons.onkeydown = (event) => {
    const step = STEPS(columns)[event.key];
    const next = all[all.indexOf(event.target) + step];
    if (!step) return;
    event.preventDefault();
    if (!next) return;
    all.forEach((button) => (button.tabIndex = button === next ? 0 : -1));
    next.focus();
  };
}
