// Elements of the panels: buttons, tick boxes, numbers whose name can be dragged.

/** An element with properties and children. Properties with a dash are attributes. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else if (name === "on") {
      for (const [kind, listener] of Object.entries(value)) element.addEventListener(kind, listener);
    } else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Put a text into an element, which is drawn anew only where the text is another one. */
export function says(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function button(text, click, more = {}) {
  return el("button", { type: "button", textContent: text, on: { click }, ...more });
}

/** A button that is on or off: {element, refresh()}. */
export function toggle(text, read, click, more = {}) {
  const element = button(text, click, more);
  const refresh = () => element.setAttribute("aria-pressed", String(!!read()));
  refresh();
  return { element, refresh };
}

export function tick(text, read, change) {
  const input = el("input", { type: "checkbox", on: { change: () => change(input.checked) } });
  const refresh = () => (input.checked = read());
  refresh();
  return { element: el("label", { className: "tick" }, input, text), refresh, input };
}

export function choice(options, change, more = {}) {
  return el("select", { on: { change: (event) => change(event.target.value) }, ...more },
    ...options.map(([value, text]) => el("option", { value, textContent: text })));
}

/** What is being typed somewhere is entered, before something else begins that it could fall into. */
export function leaveField(element) {
  element.getRootNode().activeElement?.blur();
}

let ids = 0;

/** A number: typed, stepped, or its name dragged. read() is a number or null (hidden); write(value, path) gives the
 * path with it. A drag is one gesture. */
export function number(session, text, { step, min = -1e6, max = 1e6, digits = 3, read, write }) {
  const id = `spm-field-${++ids}`;
  const clamped = (value) => Math.min(Math.max(value, min), max);
  const input = el("input", { type: "number", id, step, min, max });
  const name = el("label", { textContent: text, className: "scrub", for: id });
  const element = el("div", { className: "field" }, name, input);
  let typing = false; // what is typed stays until it is entered
  input.addEventListener("input", () => (typing = true));
  input.addEventListener("blur", () => {
    if (typing) refresh(true); // nothing of it was entered
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") refresh(true);
  });
  input.addEventListener("change", () => {
    typing = false;
    if (Number.isFinite(input.valueAsNumber)) session.step((path) => write(clamped(input.valueAsNumber), path));
    refresh(true);
  });
  let from = null;
  name.addEventListener("pointerdown", (event) => {
    leaveField(name);
    name.setPointerCapture(event.pointerId);
    from = { x: event.clientX, value: read(), moved: false };
    session.begin();
  });
  name.addEventListener("pointermove", (event) => {
    if (!from || (!from.moved && Math.abs(event.clientX - from.x) < 3)) return;
    from.moved = true;
    const value = clamped(from.value + step * Math.round((event.clientX - from.x) / 3));
    session.show((path) => write(value, path));
  });
  const done = () => {
    if (from) session.commit();
    from = null;
  };
  name.addEventListener("pointerup", done);
  name.addEventListener("pointercancel", done);
  name.addEventListener("click", (event) => from?.moved && event.preventDefault());

  function refresh(always = false) {
    const value = read();
    element.hidden = value === null;
    if (value === null || (typing && !always)) return;
    typing = false;
    const shown = String(Number(value.toFixed(digits)));
    if (input.value !== shown) input.value = shown;
  }
  return { element, refresh };
}
