// The editor's texts in the host's language: locales/<language>/main.json, merged by the host below /i18n.

let texts = {};

/** Read them; a language that lacks a text shows the English one. */
export async function loadTexts(fetchApi, language) {
  try {
    const all = await (await fetchApi("/i18n")).json();
    const [lang] = language.split("-");
    texts = { ...all.en?.spatialMemory, ...all[lang]?.spatialMemory, ...all[language]?.spatialMemory };
  } catch (error) {
    console.warn("Spatial Memory: no texts from the server", error);
  }
}

/** A text with its <names> replaced; the name itself where there is no text. */
export function t(name, values = {}) {
  const shown = (value) => typeof value === "number" ? String(Math.round(value * 100) / 100) : value;
  return (texts[name] ?? name).replace(/<(\w+)>/g, (all, key) => key in values ? shown(values[key]) : all);
}
