// The one place that knows how many frames a film may have, 1 + 4 n: the frames at which one may end.

const STRIDE = 4; // pixel frames of a latent

/** The end next to a frame, at or behind it, and at or before it. */
export const nextTo = (frame) => STRIDE * Math.round(frame / STRIDE);
export const notBefore = (frame) => STRIDE * Math.ceil(frame / STRIDE);
export const notBehind = (frame) => STRIDE * Math.floor(frame / STRIDE);

/** How many frames the last one lies behind an end. */
export const over = (last) => last % STRIDE;

/** The first end that comes after a frame. */
export const after = (frame) => notBehind(frame) + STRIDE;
