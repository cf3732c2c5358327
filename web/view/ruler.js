// The timeline as a picture: chunks, speed, keys and the playhead. The node and the dialog draw the same.

import { speeds } from "../core/frusta.js";
import { bake } from "../core/spline.js";

export const MARGIN = 12;

/** The last frame that the ruler shows: keys beyond the end stay visible. */
export function lastFrame(path) {
  return Math.max(path.numFrames - 1, path.keyframes.at(-1).frame + path.keyframes.at(-1).hold);
}

export function xOf(frame, path, width) {
  return MARGIN + (frame / lastFrame(path)) * (width - 2 * MARGIN);
}

/** The frame below x, not rounded, within the ruler. */
export function frameAt(x, path, width) {
  return Math.min(Math.max((x - MARGIN) / (width - 2 * MARGIN), 0), 1) * lastFrame(path);
}

/** Draw it. chosen: a Set of key numbers; holes: {frames, hole} in percent, or null. */
export function ruler(ctx, { width, height, path, playhead, chosen, chunks, holes, theme }) {
  const [middle, foot, x] = [height * 0.62, height - 3, (frame) => xOf(frame, path, width)];
  chunks.forEach(([start, stop], i) => {
    ctx.fillStyle = theme.line;
    ctx.globalAlpha = i % 2 ? 0.16 : 0.36;
    ctx.fillRect(x(start), 0, x(Math.min(stop, lastFrame(path))) - x(start), height);
    ctx.globalAlpha = 1;
    if (i) ctx.fillRect(Math.round(x(start)), 0, 1, height);
  });
  const rates = speeds(bake(path));
  const fastest = Math.max(...rates) || 1;
  ctx.beginPath();
  rates.forEach((rate, i) => ctx[i ? "lineTo" : "moveTo"](x(i), middle - 5 - (rate / fastest) * (middle - 18)));
  ctx.strokeStyle = theme.faint;
  ctx.lineWidth = 1;
  ctx.stroke();
  if (holes) holesStrip(ctx, holes, x, foot, path);
  ctx.fillStyle = theme.faint;
  ctx.font = "10px sans-serif";
  ctx.textAlign = "center";
  for (const frame of ticks(lastFrame(path), width)) ctx.fillText(String(frame), x(frame), 9);
  path.keyframes.forEach((key, i) => {
    const [at, size] = [x(key.frame), chosen.has(i) ? 7 : 5];
    if (key.hold) {
      ctx.fillStyle = theme.accent;
      ctx.fillRect(at, middle - 2, x(key.frame + key.hold) - at, 4);
    }
    ctx.save();
    ctx.translate(at, middle);
    ctx.rotate(Math.PI / 4);
    ctx.fillStyle = chosen.has(i) ? theme.accent : theme.key;
    ctx.globalAlpha = key.frame > path.numFrames - 1 ? 0.5 : 1;
    ctx.fillRect(-size, -size, 2 * size, 2 * size);
    ctx.strokeStyle = theme.edge;
    ctx.strokeRect(-size, -size, 2 * size, 2 * size);
    ctx.restore();
  });
  ctx.fillStyle = "#e5484d";
  ctx.fillRect(Math.round(x(playhead)) - 1, 0, 2, height);
}

function holesStrip(ctx, { frames, hole }, x, foot, path) {
  frames.forEach((frame, i) => {
    const next = frames[i + 1] ?? path.numFrames - 1;
    ctx.fillStyle = `hsl(330 80% ${88 - 0.45 * hole[i]}%)`;
    ctx.globalAlpha = 0.25 + (0.75 * hole[i]) / 100;
    ctx.fillRect(x(frame), foot - 5, Math.max(x(next) - x(frame), 1), 6);
  });
  ctx.globalAlpha = 1;
}

function ticks(last, width) {
  const least = (last * 46) / width;
  const step = [1, 2, 4, 8, 16, 24, 48, 96, 240, 480, 960].find((s) => s >= least) ?? 1920;
  return Array.from({ length: Math.floor(last / step) + 1 }, (_, i) => i * step);
}
