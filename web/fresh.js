// Modules of which the host does not say how long they may be kept (it says so of .js alone): a browser guesses then,
// and after an update could run old files beside new ones.

const asked = new Map(); // address: a promise

/** Import a module when it and all that it imports have been asked for anew; what is unchanged is not sent again. */
export async function importFresh(address) {
  await freshened(new URL(address).href);
  return import(address);
}

function freshened(address) {
  if (!asked.has(address)) asked.set(address, askedAnew(address));
  return asked.get(address);
}

async function askedAnew(address) {
  const reply = await fetch(address, { cache: "no-cache" }).catch(() => null);
  const text = reply?.ok ? await reply.text() : ""; // what cannot be had is what the import complains of
  const names = [...text.matchAll(/\b(?:from|import) ?\(?"(\.[^"]+\.mjs)"/g)].map(([, name]) => name);
  await Promise.all(names.map((name) => freshened(new URL(name, address).href)));
}
