// The dialog's own style, in its own shadow: the host's theme comes in through its variables only.

export const STYLE = `
:host{all:initial;position:fixed;inset:0;display:block;outline:none;
 --ground:var(--comfy-menu-bg,#2b2b2b);--well:var(--comfy-input-bg,#1f1f1f);--text:var(--input-text,#ddd);
 --stage:var(--bg-color,#25272b);
 --quiet:var(--descrip-text,#999);--line:var(--border-color,#4e4e4e);--accent:#f5a524}
*{box-sizing:border-box;font:13px/1.35 system-ui,"Noto Sans CJK SC","Noto Sans SC",sans-serif}
[hidden]{display:none!important}
.frame{position:absolute;inset:0;display:grid;grid-template:auto 1fr auto/1fr auto;background:var(--ground);
 color:var(--text)}
header{grid-column:1/-1;display:flex;flex-wrap:wrap;gap:6px 12px;align-items:center;padding:6px 10px;
 border-bottom:1px solid var(--line)}
h2{font-size:15px;font-weight:600;margin:0 4px 0 0}
h3{font-size:12px;font-weight:600;margin:0 0 6px;letter-spacing:.02em;text-transform:none;color:var(--text)}
.group{display:flex;gap:3px;align-items:center}
.space{flex:1}
button,select,input{color:var(--text);background:var(--well);border:1px solid var(--line);border-radius:5px;
 padding:4px 8px;min-height:28px}
button{cursor:pointer}
button:hover:not(:disabled){border-color:var(--quiet)}
button:disabled{opacity:.4;cursor:default}
button[aria-pressed=true],button.primary{background:var(--accent);border-color:var(--accent);color:#1b1400}
:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
.tool{width:30px;padding:4px;display:grid;place-items:center}
.tool svg{width:16px;height:16px;fill:none;stroke:currentColor;stroke-width:1.4;stroke-linecap:round;
 stroke-linejoin:round}
.amount{width:72px}
.record[aria-pressed=true]{background:#e5484d;border-color:#e5484d;color:#fff}
.stage{position:relative;min-width:0;min-height:0;overflow:hidden;
 background:var(--stage)}
.stage canvas{position:absolute;inset:0;width:100%;height:100%;touch-action:none;outline-offset:-2px}
.corner{position:absolute;left:10px;bottom:8px;display:flex;gap:4px 12px;flex-wrap:wrap;
 text-shadow:0 0 3px var(--stage);pointer-events:none;max-width:calc(100% - 20px)}
.corner .tick{pointer-events:auto}
.status{position:absolute;left:50%;top:10px;transform:translateX(-50%);max-width:80%;padding:5px 12px;
 background:rgba(20,20,20,.85);color:#fff;border-radius:6px;pointer-events:none}
.status:empty{display:none}
.facts{position:absolute;right:10px;top:8px;text-shadow:0 0 3px var(--stage);pointer-events:none}
header,aside,footer{contain:layout paint;will-change:transform;background:var(--ground)}
aside{width:var(--side,316px);min-height:0;overflow:auto;border-left:1px solid var(--line);padding:10px 12px}
section,details{border-bottom:1px solid var(--line);padding-bottom:10px;margin-bottom:10px}
summary{cursor:pointer;font-weight:600;font-size:12px;margin-bottom:6px}
p{margin:4px 0}
.faint{color:var(--quiet)}
.fields{display:grid;grid-template-columns:1fr 1fr;gap:4px 10px}
.field{display:grid;grid-template-columns:1fr 74px;align-items:center;gap:6px}
.field input{width:100%;padding:3px 6px;min-height:26px}
.field.wide{grid-template-columns:auto 1fr auto;margin:6px 0}
.scrub{cursor:ew-resize;touch-action:none;user-select:none;overflow-wrap:anywhere}
.row{display:flex;flex-wrap:wrap;gap:5px;margin-top:6px;align-items:center}
.row input[type=number]{width:80px}
.tick{display:inline-flex;gap:5px;align-items:center;cursor:pointer;margin:6px 0 0}
.tick input{min-height:0;width:15px;height:15px;margin:0;accent-color:var(--accent)}
canvas.preview{width:100%;image-rendering:pixelated;border-radius:4px;background:#000}
.findings{list-style:none;margin:0;padding:0;display:flex;flex-direction:column;gap:5px}
.findings button{text-align:start;width:100%;border-left:4px solid var(--quiet);white-space:normal;background:none}
.findings .warning button{border-left-color:var(--accent)}
.findings .error button{border-left-color:#e5484d}
footer{grid-column:1/-1;display:grid;grid-template-columns:auto 1fr;gap:8px;align-items:center;padding:6px 10px;
 border-top:1px solid var(--line)}
.timeline{width:100%;height:64px;background:var(--well);border-radius:5px;touch-action:none;cursor:col-resize}
.transport{display:flex;flex-wrap:wrap;gap:3px;width:182px}
.transport .frame-now{min-width:100%;text-align:center;color:var(--quiet);font-variant-numeric:tabular-nums}
.transport button{flex:1;padding:3px 4px}
.panel{position:absolute;left:14px;top:14px;width:min(380px,calc(100% - 28px));max-height:calc(100% - 28px);
 overflow:auto;background:var(--ground);color:var(--text);border:1px solid var(--line);border-radius:8px;
 padding:12px 14px;box-shadow:0 8px 30px rgba(0,0,0,.45)}
.panel ul{margin:4px 0;padding-inline-start:18px}
.shortcuts{left:50%;top:50%;transform:translate(-50%,-50%);width:min(640px,calc(100% - 28px))}
.shortcuts dl{display:grid;grid-template-columns:auto 1fr;gap:5px 16px;margin:0}
.shortcuts dt{font-weight:600;white-space:nowrap}
.shortcuts dd{margin:0}
.drop .stage{outline:3px dashed var(--accent);outline-offset:-8px}
.divider{position:absolute;right:0;top:0;bottom:0;width:6px;cursor:ew-resize;touch-action:none}
@media (max-width:820px){aside{width:240px}}
`;
