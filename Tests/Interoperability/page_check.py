#!/usr/bin/env python3
"""Check one local HTML file in headless Chromium over the DevTools pipe. Python stdlib only.

page_check.py FILE.html [--width W] [--height H] [--out X.png] [--scheme light|dark]
             [--runs N] [--js on|off] [--max-shot-height PX]
Prints one JSON object; exit 0 = clean, 3 = a script ran/exists, a request other than the
document (or data:/blob:) was tried, or the page overflows sideways; 2 = could not run."""
import argparse, base64, json, os, select, shutil, signal, statistics, subprocess, sys, tempfile, time
from pathlib import Path

BROWSERS = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"]
DOM = r"""(() => {
 const q = s => [...document.querySelectorAll(s)], d = document.documentElement, w = d.clientWidth;
 const on = q('*').flatMap(e => [...e.attributes].filter(a => /^on/i.test(a.name)).map(a => e.localName + '@' + a.name));
 const clipped = e => { for (let p = e.parentElement; p && p !== d; p = p.parentElement) {
   if (p !== document.body && /auto|scroll|hidden|clip/.test(getComputedStyle(p).overflowX)) return true; } return false; };
 const n = performance.getEntriesByType('navigation')[0];
 const fcp = performance.getEntriesByName('first-contentful-paint')[0];
 return {scriptElements: q('script').map(s => s.src || ('inline type=' + (s.type || 'text/javascript') + ' chars=' + s.textContent.length)),
  handlerAttributes: on, javascriptUrls: q('a[href^="javascript:" i],form[action^="javascript:" i]').length,
  embeds: q('iframe,object,embed,frame,base,meta[http-equiv="refresh" i]').map(e => e.localName),
  hintLinks: q('link[rel]').map(l => l.rel + ' ' + (l.getAttribute('href')||'').slice(0, 80)),
  csp: q('meta[http-equiv="Content-Security-Policy" i]').map(m => m.content),
  elements: q('*').length, innerWidth, clientWidth: w, scrollWidth: d.scrollWidth,
  overflowing: d.scrollWidth > w ? q('body *').filter(e => e.getBoundingClientRect().right > w + 1 && !clipped(e)).slice(0, 8)
     .map(e => e.localName + (e.id ? '#' + e.id : '') + (e.classList.length ? '.' + [...e.classList].join('.') : '') + ' right=' + Math.round(e.getBoundingClientRect().right)) : [],
  dark: matchMedia('(prefers-color-scheme: dark)').matches, bg: getComputedStyle(document.body).backgroundColor,
  domInteractiveMs: n.domInteractive, domContentLoadedMs: n.domContentLoadedEventEnd, loadMs: n.loadEventEnd, fcpMs: fcp ? fcp.startTime : null};
})()"""


class CDP:
    def __init__(self, exe, profile):
        cr, self.w = os.pipe()
        self.r, cw = os.pipe()
        def wire():                      # the browser reads fd 3 and writes fd 4
            a, b = os.dup(cr), os.dup(cw)
            os.dup2(a, 3); os.dup2(b, 4)
        self.p = subprocess.Popen(
            [exe, "--headless", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu", "--hide-scrollbars",
             "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update",
             "--disable-extensions", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND",
             f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=wire, close_fds=False, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(cr); os.close(cw)
        self.buf, self.n, self.events, self.replies = b"", 0, [], {}

    def pump(self, timeout):
        if not select.select([self.r], [], [], max(0, timeout))[0]:
            return
        data = os.read(self.r, 1 << 20)
        if not data:
            raise RuntimeError("browser closed the pipe")
        self.buf += data
        *msgs, self.buf = self.buf.split(b"\0")
        for m in map(json.loads, msgs):
            if "id" in m:
                self.replies[m["id"]] = m
            else:
                self.events.append((time.monotonic(), m))
                if m["method"] == "Target.attachedToTarget" and m["params"]["waitingForDebugger"]:
                    s = m["params"]["sessionId"]   # frame in another process or a worker: watch it too
                    for c in ("Network.enable", "Debugger.enable", "Runtime.runIfWaitingForDebugger"):
                        self.post(c, {}, s)

    def post(self, method, params, session=None):
        self.n += 1
        m = {"id": self.n, "method": method, "params": params}
        if session:
            m["sessionId"] = session
        data = json.dumps(m).encode() + b"\0"
        while data:
            data = data[os.write(self.w, data):]
        return self.n

    def call(self, method, session=None, timeout=60, **params):
        i, end = self.post(method, params, session), time.monotonic() + timeout
        while i not in self.replies:
            if time.monotonic() > end:
                raise RuntimeError(f"{method}: no answer in {timeout} s")
            self.pump(1)
        m = self.replies.pop(i)
        if "error" in m:
            raise RuntimeError(f"{method}: {m['error']['message']}")
        return m["result"]

    def wait(self, method, session, timeout):
        end = time.monotonic() + timeout
        while True:
            for t, e in self.events:
                if e["method"] == method and e.get("sessionId") == session:
                    return t
            if time.monotonic() > end:
                raise RuntimeError(f"{method} did not come in {timeout} s")
            self.pump(0.5)


def one(c, url, a, shoot):
    c.events.clear()
    t = c.call("Target.createTarget", url="about:blank")["targetId"]
    s = c.call("Target.attachToTarget", targetId=t, flatten=True)["sessionId"]
    for m in ("Page.enable", "Network.enable", "Runtime.enable", "Debugger.enable", "Log.enable"):
        c.call(m, s)
    c.call("Target.setAutoAttach", s, autoAttach=True, waitForDebuggerOnStart=True, flatten=True)
    c.call("Network.setCacheDisabled", s, cacheDisabled=True)
    c.call("Emulation.setDeviceMetricsOverride", s, width=a.width, height=a.height, deviceScaleFactor=1, mobile=a.width < 500)
    c.call("Emulation.setEmulatedMedia", s, features=[{"name": "prefers-color-scheme", "value": a.scheme}])
    if a.js == "off":
        c.call("Emulation.setScriptExecutionDisabled", s, value=True)
    c.events.clear()
    t0 = time.monotonic()
    nav = c.call("Page.navigate", s, url=url)
    if nav.get("errorText"):
        raise RuntimeError(nav["errorText"])
    wall = (c.wait("Page.loadEventFired", s, 60) - t0) * 1000
    end = time.monotonic() + a.settle
    while time.monotonic() < end:          # late timers, lazy requests
        c.pump(0.05)
    req, scripts, msgs = [], [], []
    for _, e in c.events:
        p = e["params"]
        if e["method"] == "Network.requestWillBeSent":
            req.append((p["request"]["url"], p.get("type"), p.get("initiator", {}).get("type")))
        elif e["method"] in ("Network.webSocketCreated", "Network.webTransportCreated"):
            req.append((p["url"], "WebSocket", None))
        elif e["method"] == "Debugger.scriptParsed":
            scripts.append(f"{(p.get('url') or 'inline')[:120]}:{p['startLine'] + 1} ({p['length']} chars)")
        elif e["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            msgs.append(e["method"])
        elif e["method"] == "Log.entryAdded":
            msgs.append(p["entry"]["level"] + ": " + p["entry"]["text"][:200])
    # the sums below are this tool's own script, read only after the page's were counted
    dom = c.call("Runtime.evaluate", s, expression=DOM, returnByValue=True)
    if "exceptionDetails" in dom:
        raise RuntimeError(json.dumps(dom["exceptionDetails"])[:300])
    dom = dom["result"]["value"]
    other = [r for r in req if r[0].split("#")[0] != url and not r[0].startswith(("data:", "blob:"))]
    out = {"wallLoadMs": round(wall, 1), **{k: round(dom.pop(k), 1) if dom.get(k) is not None else dom.pop(k)
           for k in ("loadMs", "domContentLoadedMs", "domInteractiveMs", "fcpMs")},
           "requests": [f"{k}: {u[:160]}" for u, k, _ in other],
           "dataUrls": sum(r[0].startswith("data:") for r in req), "scriptsRun": scripts, "messages": msgs, **dom}
    if shoot:
        size = c.call("Page.getLayoutMetrics", s)["cssContentSize"]
        h = min(int(size["height"]) or 1, a.max_shot_height)
        png = c.call("Page.captureScreenshot", s, timeout=120, format="png", captureBeyondViewport=True,
                     clip={"x": 0, "y": 0, "width": a.width, "height": h, "scale": 1})["data"]
        Path(shoot).write_bytes(base64.b64decode(png))
        out["screenshot"], out["pageHeight"], out["shotHeight"] = shoot, int(size["height"]), h
    c.call("Target.closeTarget", targetId=t)
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("file"); ap.add_argument("--width", type=int, default=1280); ap.add_argument("--height", type=int, default=900)
    ap.add_argument("--out"); ap.add_argument("--scheme", choices=["light", "dark"], default="light")
    ap.add_argument("--runs", type=int, default=1); ap.add_argument("--js", choices=["on", "off"], default="on")
    ap.add_argument("--settle", type=float, default=0.5); ap.add_argument("--max-shot-height", type=int, default=8000)
    a = ap.parse_args()
    exe = os.environ.get("CHROMIUM") or next((shutil.which(b) for b in BROWSERS if shutil.which(b)), None)
    if not exe:
        sys.exit("no headless Chromium: apt-get install --no-install-recommends chromium-headless-shell")
    url = Path(a.file).resolve(strict=True).as_uri()
    profile = tempfile.mkdtemp(prefix="page_check.")
    t0 = time.monotonic()
    c = CDP(exe, profile)
    try:
        ver = c.call("Browser.getVersion")["product"]
        runs = [one(c, url, a, a.out if i == a.runs - 1 else None) for i in range(a.runs)]
        last = runs[-1]
        last["browser"], last["bytes"], last["processTotalMs"] = ver, os.path.getsize(a.file), round((time.monotonic() - t0) * 1000)
        if a.runs > 1:
            for k in ("loadMs", "wallLoadMs"):
                v = sorted(r[k] for r in runs)
                last[k + "Runs"] = {"first": runs[0][k], "min": v[0], "median": statistics.median(v), "max": v[-1]}
        real = [x for x in last["scriptElements"] if "type=application/json" not in x and "type=application/ld+json" not in x]
        last["problems"] = [n for n, bad in (("script ran", last["scriptsRun"]), ("script element", real), ("handler attribute", last["handlerAttributes"]),
             ("javascript: url", last["javascriptUrls"]), ("request", last["requests"]), ("sideways overflow", last["overflowing"])) if bad]
        print(json.dumps(last, indent=1))
        return 3 if last["problems"] else 0
    except RuntimeError as e:
        print(f"page_check: {e}", file=sys.stderr)
        return 2
    finally:
        try:
            c.call("Browser.close", timeout=5)
        except Exception:
            pass
        try:
            c.p.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(c.p.pid, signal.SIGKILL)   # our own browser's process group only
        shutil.rmtree(profile, ignore_errors=True)


sys.exit(main())
