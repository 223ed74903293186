"use strict";
// Draws the viewer of report.html from the JSON element #viewer-data; see viewer.py for its fields.
// Three linked panes (pre-contrast, phase, subtraction), one window for all volumes, lesions to jump to, curves on click.
(async function () {
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const root = document.querySelector(".viewer");
  const [columns, rows, slices] = data.size;
  const plane = columns * rows;

  // ---- Pictures become volumes of bytes, one slice after the other.
  async function decode(url) {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.width;
    canvas.height = image.height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const volume = new Uint8Array(plane * slices);
    for (let k = 0; k < slices; k++) {
      const x = (k % data.mosaic_columns) * columns, y = Math.floor(k / data.mosaic_columns) * rows;
      const pixels = context.getImageData(x, y, columns, rows).data;
      for (let n = 0; n < plane; n++) volume[k * plane + n] = pixels[4 * n];
    }
    return volume;
  }
  const volumes = await Promise.all(data.volumes.map((volume) => decode(volume.picture)));
  const labels = data.labels ? await decode(data.labels) : null;
  const value = (volume, index) => data.offset + data.scale * volumes[volume][index];

  // ---- What is shown.
  const state = {
    slice: data.lesions.length ? data.lesions[0].slice : Math.floor(slices / 2),
    phase: 1, lesion: data.lesions.length ? 0 : -1, cursor: null, outlines: true,
    window: [...data.window], change: [...data.change_window],
  };

  // ---- Elements.
  const make = (tag, parent, properties = {}) => parent.appendChild(Object.assign(document.createElement(tag), properties));
  const bar = make("div", root, { className: "viewer-bar" });
  const phases = make("span", bar);
  data.volumes.slice(1).forEach((volume, n) => make("button", phases, {
    type: "button", textContent: volume.name, onclick: () => set({ phase: n + 1 }),
  }));
  const slider = make("input", bar, { type: "range", min: 0, max: slices - 1, ariaLabel: "Slice" });
  slider.oninput = () => set({ slice: Number(slider.value) });
  const position = make("span", bar, { className: "viewer-position" });
  make("button", bar, { type: "button", textContent: "Outlines", onclick: () => set({ outlines: !state.outlines }) });
  make("button", bar, {
    type: "button", textContent: "Reset window",
    onclick: () => set({ window: [...data.window], change: [...data.change_window] }),
  });
  const panes = make("div", root, { className: "viewer-panes" });
  const pane = (name) => {
    const figure = make("figure", panes);
    const canvas = make("canvas", figure, { width: columns, height: rows });
    canvas.style.aspectRatio = `${columns} / ${rows * data.pixel_aspect}`;
    canvas.dataset.pane = name;
    return { canvas, context: canvas.getContext("2d"), caption: make("figcaption", figure) };
  };
  const shown = { pre: pane("pre"), phase: pane("phase"), change: pane("change") };
  const below = make("div", root, { className: "viewer-below" });
  const list = make("div", below, { className: "viewer-lesions" });
  data.lesions.forEach((lesion, n) => {
    const button = make("button", list, { type: "button", onclick: () => jump(n) });
    make("span", button, { className: "viewer-dot" }).style.background = lesion.color;
    button.append(`Lesion ${lesion.label}${lesion.type ? ": " + lesion.type : ""}`);
  });
  const chart = make("canvas", below, { width: 560, height: 240, className: "viewer-chart" });
  const help = "Wheel or up and down: slice. Left and right: phase. Drag: window and level of all panes. Click: curve there.";
  make("p", root, { className: "note", textContent: help + (data.lossy ? " Pictures are compressed; gray levels are approximate." : "") });

  // ---- Drawing.
  function draw(target, gray, window, synthetic, title) {
    const image = target.context.createImageData(columns, rows);
    const factor = 255 / Math.max(window[1] - window[0], 1e-9);
    for (let n = 0; n < plane; n++) {
      const level = (gray(state.slice * plane + n) - window[0]) * factor;
      image.data[4 * n] = image.data[4 * n + 1] = image.data[4 * n + 2] = level;
      image.data[4 * n + 3] = 255;
    }
    if (labels && state.outlines) outline(image.data);
    target.context.putImageData(image, 0, 0);
    letters(target.context, synthetic);
    if (state.cursor) cross(target.context);
    target.caption.textContent = title;
  }
  function outline(pixels) {
    const at = state.slice * plane;
    for (let n = 0; n < plane; n++) {
      const label = labels[at + n];
      if (!label) continue;
      const x = n % columns;
      const inside = x > 0 && x < columns - 1 && labels[at + n - 1] === label && labels[at + n + 1] === label
        && labels[at + n - columns] === label && labels[at + n + columns] === label;
      if (inside) continue;
      const lesion = data.lesions.find((one) => one.label === label);
      const color = parseInt((lesion ? lesion.color : "#ffffff").slice(1), 16);
      pixels[4 * n] = color >> 16;
      pixels[4 * n + 1] = (color >> 8) & 255;
      pixels[4 * n + 2] = color & 255;
    }
  }
  function letters(context, synthetic) {
    const size = Math.max(8, Math.round(rows / 22));
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.lineWidth = 2;
    context.strokeStyle = "#000";
    context.fillStyle = "#fff";
    const write = (text, x, y) => { context.strokeText(text, x, y); context.fillText(text, x, y); };
    write(data.letters[0], 2, rows / 2);
    write(data.letters[1], columns / 2, size);
    if (synthetic) {
      const fit = Math.min(size, (size * (columns - 6)) / Math.max(context.measureText(data.label).width, 1));
      context.font = `600 ${fit}px system-ui, sans-serif`;
      write(data.label, 3, rows - 4);
    }
  }
  function cross(context) {
    context.strokeStyle = "#0ff";
    context.lineWidth = 1;
    context.beginPath();
    const { x, y } = state.cursor;
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 0.5 + 2 * dx, y + 0.5 + 2 * dy);
      context.lineTo(x + 0.5 + 6 * dx, y + 0.5 + 6 * dy);
    }
    context.stroke();
  }
  function render() {
    const phase = data.volumes[state.phase];
    const number = data.slice_numbers[state.slice];
    draw(shown.pre, (n) => value(0, n), state.window, false, "Pre-contrast, acquired");
    draw(shown.phase, (n) => value(state.phase, n), state.window, phase.synthetic, phase.name);
    draw(shown.change, (n) => value(state.phase, n) - value(0, n), state.change, phase.synthetic, `${phase.name} minus pre-contrast`);
    [...phases.children].forEach((button, n) => button.setAttribute("aria-pressed", String(n + 1 === state.phase)));
    [...list.children].forEach((button, n) => button.setAttribute("aria-pressed", String(n === state.lesion)));
    slider.value = state.slice;
    position.textContent = `slice ${number}, window ${state.window.map((one) => one.toPrecision(3)).join(" to ")}`;
    root.dataset.slice = state.slice;
    root.dataset.phase = state.phase;
    root.dataset.lesion = state.lesion;
    root.dataset.window = state.window.join(" ");
    plot();
  }

  // ---- Curves: those of the run for a lesion, those of the page's gray levels for a place that was clicked.
  function curves() {
    if (state.cursor) {
      const around = [];
      for (let dy = -1; dy <= 1; dy++) for (let dx = -1; dx <= 1; dx++) {
        const x = state.cursor.x + dx, y = state.cursor.y + dy;
        if (x >= 0 && y >= 0 && x < columns && y < rows) around.push(state.slice * plane + y * columns + x);
      }
      const mean = (volume) => around.reduce((sum, index) => sum + value(volume, index), 0) / around.length;
      const start = mean(0);
      const line = (synthetic) => {
        const found = data.volumes.map((volume, n) => [volume, n]).filter(([volume, n]) => n > 0 && volume.synthetic === synthetic && volume.time_s !== null);
        return found.length && start > 0 ? {
          times_s: [0, ...found.map(([volume]) => volume.time_s)],
          pe: [0, ...found.map(([, n]) => (100 * (mean(n) - start)) / start)], sd: [],
        } : null;
      };
      return { title: "3 x 3 pixels under the cross, from this page's gray levels", color: "#067", synthetic: line(true), real: line(false) };
    }
    const lesion = data.lesions[state.lesion];
    return lesion ? { title: `Lesion ${lesion.label}: mean percent enhancement`, ...lesion } : null;
  }
  function plot() {
    const context = chart.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, chart.width, chart.height);
    const found = curves();
    chart.dataset.curve = JSON.stringify(found ? { synthetic: found.synthetic, real: found.real } : null);
    if (!found) return;
    const lines = [[found.synthetic, [], "synthetic"], [found.real, [6, 4], "acquired"]].filter(([line]) => line);
    if (!lines.length) return;
    const last = Math.max(...lines.flatMap(([line]) => line.times_s), 60);
    const highs = lines.flatMap(([line]) => line.pe.map((pe, n) => pe + (line.sd[n] || 0)));
    const lows = lines.flatMap(([line]) => line.pe.map((pe, n) => pe - (line.sd[n] || 0)));
    const top = Math.max(50, ...highs) * 1.08, bottom = Math.min(0, ...lows);
    const x = (time) => 50 + ((chart.width - 70) * time) / last;
    const y = (pe) => chart.height - 34 - ((chart.height - 62) * (pe - bottom)) / (top - bottom);
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = "#222";
    context.fillText(found.title, 50, 16);
    context.strokeStyle = "#ddd";
    context.lineWidth = 1;
    const step = [10, 25, 50, 100, 200, 500].find((one) => (top - bottom) / one <= 6) || 1000;
    for (let pe = Math.ceil(bottom / step) * step; pe <= top; pe += step) {
      context.beginPath(); context.moveTo(50, y(pe)); context.lineTo(chart.width - 20, y(pe)); context.stroke();
      context.fillText(`${pe} %`, 8, y(pe) + 4);
    }
    for (let minute = 0; minute * 60 <= last; minute++) context.fillText(String(minute), x(60 * minute) - 3, chart.height - 16);
    context.fillText("minutes", chart.width - 64, chart.height - 3);
    lines.forEach(([line, dash, name], n) => {
      context.strokeStyle = context.fillStyle = found.color;
      context.lineWidth = 2;
      context.setLineDash(dash);
      context.beginPath();
      line.times_s.forEach((time, m) => context.lineTo(x(time), y(line.pe[m])));
      context.stroke();
      context.setLineDash([]);
      line.times_s.forEach((time, n) => {
        context.beginPath(); context.arc(x(time), y(line.pe[n]), 3, 0, 7); context.fill();
        if (!line.sd[n]) return;
        context.lineWidth = 1;
        context.beginPath(); context.moveTo(x(time), y(line.pe[n] - line.sd[n])); context.lineTo(x(time), y(line.pe[n] + line.sd[n])); context.stroke();
      });
      const place = chart.width - 220 + 105 * n;
      context.lineWidth = 2;
      context.setLineDash(dash);
      context.beginPath(); context.moveTo(place, 32); context.lineTo(place + 28, 32); context.stroke();
      context.setLineDash([]);
      context.fillStyle = "#222";
      context.fillText(name, place + 34, 36);
    });
  }

  // ---- What the reader does.
  let waiting = false;
  function set(change) {
    Object.assign(state, change);
    state.slice = Math.max(0, Math.min(slices - 1, state.slice));
    state.phase = Math.max(1, Math.min(data.volumes.length - 1, state.phase));
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; render(); });
  }
  function jump(n) { set({ lesion: n, slice: data.lesions[n].slice, cursor: null }); }
  for (const { canvas } of Object.values(shown)) {
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return { x: Math.floor(((event.clientX - box.left) / box.width) * columns), y: Math.floor(((event.clientY - box.top) / box.height) * rows) };
    };
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); set({ slice: state.slice + Math.sign(event.deltaY) }); }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      const start = { x: event.clientX, y: event.clientY, window: [...state.window], change: [...state.change] };
      let dragged = false;
      canvas.setPointerCapture(event.pointerId);
      canvas.onpointermove = (move) => {
        const dx = move.clientX - start.x, dy = move.clientY - start.y;
        if (!dragged && Math.hypot(dx, dy) < 4) return;
        dragged = true;
        const drag = ([low, high]) => {
          const width = Math.max((high - low) * Math.exp(dx / 200), 1e-6), middle = (low + high) / 2 + ((high - low) * dy) / 300;
          return [middle - width / 2, middle + width / 2];
        };
        if (canvas.dataset.pane === "change") set({ change: drag(start.change) });
        else set({ window: drag(start.window) });
      };
      canvas.onpointerup = (end) => {
        canvas.onpointermove = canvas.onpointerup = null;
        if (!dragged) set({ cursor: place(end) });
      };
    });
  }
  root.addEventListener("keydown", (event) => {
    const moves = {
      ArrowUp: { slice: state.slice + 1 }, ArrowDown: { slice: state.slice - 1 },
      ArrowRight: { phase: state.phase + 1 }, ArrowLeft: { phase: state.phase - 1 },
    };
    if (!moves[event.key] || event.target === slider) return;
    event.preventDefault();
    set(moves[event.key]);
  });
  render();
  root.dataset.ready = "true";
})();
