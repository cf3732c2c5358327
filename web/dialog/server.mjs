// What the dialog asks the server (docs/editor_api.md). A refusal throws Refused with the server's words.

import { readScene } from "../view/scene.js";

export class Refused extends Error {
  constructor(message, gone) {
    super(message);
    this.gone = gone;
  }
}

export function serverOf(api) {
  async function ask(route, options) {
    const reply = await api.fetchApi(route, options);
    if (reply.ok) return reply;
    let said = {};
    try {
      said = await reply.json();
    } catch { /* no JSON: the status has to do */ }
    throw new Refused(said.error ?? `the server answered ${reply.status}`, said.gone === true);
  }
  const post = (route, content) => ask(route, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content),
  });

  return {
    async scene(key, points) {
      const reply = await ask(`/spatial_memory/scene/${key}${points ? `?points=${points}` : ""}`);
      return readScene(await reply.arrayBuffer());
    },
    /** {head, rgb Uint8Array (3 h w), known Uint8Array (h w)}. */
    async preview(memory, path, frame, size) {
      const buffer = await (await post("/spatial_memory/preview", { memory, path, frame, size })).arrayBuffer();
      const length = new DataView(buffer).getUint32(8, true);
      const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 16, length)));
      const pixels = head.height * head.width;
      return {
        head, rgb: new Uint8Array(buffer, 16 + length, 3 * pixels),
        known: new Uint8Array(buffer, 16 + length + 3 * pixels, pixels),
      };
    },
    async holes(content) {
      return (await post("/spatial_memory/holes", content)).json();
    },
    /** Upload a photograph and make points of it: what the host calls a scene. */
    async image(file, verticalFov) {
      const form = new FormData();
      form.append("image", file);
      const stored = await (await ask("/upload/image", { method: "POST", body: form })).json();
      const asked = { ...stored, provider: "mini", vertical_fov: verticalFov };
      return (await (await post("/spatial_memory/image", asked)).json()).spatial_scene;
    },
    async cameras(file, corrections) {
      const query = new URLSearchParams({ name: file.name, ...corrections });
      return (await ask(`/spatial_memory/cameras?${query}`, { method: "POST", body: file })).json();
    },
    /** {blob, name, dropped: [texts]}. */
    async export(content) {
      const reply = await post("/spatial_memory/export", content);
      const [, name] = /filename="([^"]+)"/.exec(reply.headers.get("Content-Disposition") ?? "") ?? [];
      const { dropped = [] } = JSON.parse(reply.headers.get("X-Spatial-Memory") ?? "{}");
      return { blob: await reply.blob(), name: name ?? "camera_path", dropped };
    },
  };
}
