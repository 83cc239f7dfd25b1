#!/usr/bin/python3
"""config/observability as a stranger uses it: promtool takes it and its tests hold, a real Prometheus scrapes a relay with
the shipped configuration, every query of dashboard and alerts is of what the relay exports and is answered, an alert
fires and says what to do."""
import json
import os
import re
import shutil
import signal
import subprocess
import time

from common import ROOT, Traffic, check, main, run, wait_until
from prometheus_client.parser import text_string_to_metric_families

FILES = ROOT / "config/observability"
NAME = re.compile(r"\b(?:sluice_[a-z0-9_]+|process_start_time_seconds)\b")
PROMETHEUS = 9761
# Without calls, and an audit log that grows, these have nothing to show.
MAY_BE_EMPTY = {"sluice_audit_days_left", "sluice_call_decisions_total"}


def in_relay(lab, *argv):
    return ["ip", "netns", "exec", lab.ns("relay"), *map(str, argv)]


def dashboard():
    return json.loads((FILES / "dashboard.json").read_text())


def panel_queries():
    """Title and expression of every panel's query, with Grafana's variables filled in."""
    board = dashboard()
    out = [(p["title"], t["expr"]) for p in board["panels"] for t in p.get("targets", [])]
    out += [(a["name"], a["expr"]) for a in board["annotations"]["list"] if "expr" in a]
    return [(title, e.replace("$instance", ".*").replace("$__rate_interval", "30s").replace("[1h]", "[30s]")) for title,
            e in out]


def check_dashboard():
    board = dashboard()
    panels = [p for p in board["panels"] if p["type"] != "row"]
    check(board["schemaVersion"] >= 38 and [v["name"] for v in board["templating"]["list"]] == ["datasource", "instance"],
          "the dashboard is of Grafana 10's form and asks for its data source")
    for p in panels:
        defaults = p["fieldConfig"]["defaults"]
        good = p.get("description") and p["datasource"]["uid"] == "${datasource}" and p["targets"]
        if not (good and ("unit" in defaults or p["type"] in ("table", "heatmap"))
                and all('job="sluice"' in t["expr"] for t in p["targets"])):
            check(False, f"panel {p['title']} has a description, a unit, the data source's variable, and the job's name")
    check(len({p["id"] for p in board["panels"]}) == len(board["panels"]), f"{len(panels)} panels with units and descriptions")
    taken = set()
    for p in board["panels"]:
        at = p["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        if taken & cells or at["x"] + at["w"] > 24:
            check(False, f"panel {p['title']} has a place of its own")
        taken |= cells


def anchors(page):
    return {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", page.read_text(), re.M)}


def check_rules(lab):
    for tool in ("check rules alerts.yml", "check config prometheus.yml", "test rules alerts_test.yml"):
        done = run("promtool", *tool.split(), cwd=FILES, check=False)
        said = (done.stdout + done.stderr).strip()[-300:] if done.returncode else "good"
        check(done.returncode == 0, f"promtool {tool}: {said}")
    text = (FILES / "alerts.yml").read_text()
    names = re.findall(r"- alert: (\w+)", text)
    tested = set(re.findall(r'alertname="(\w+)",instance="ill"', (FILES / "alerts_test.yml").read_text()))
    check(set(names) == tested, f"each of {len(names)} alerts has a series on which it fires: {set(names) ^ tested}")
    for page, _, anchor in (d.partition("#") for d in re.findall(r"docs: (\S+)", text)):
        if anchor and anchor not in anchors(ROOT / page) or not (ROOT / page).exists():
            check(False, f"{page} has a section {anchor}")
    # promtool shows what it got where it expected nothing: every annotation, filled in.
    wrong = (FILES / "alerts_test.yml").read_text().split("    promql_expr_test:")[0] + "    alert_rule_test:\n"
    wrong += "".join(f"      - {{ eval_time: 84m, alertname: {n}, exp_alerts: [] }}\n" for n in names)
    shutil.copy(FILES / "alerts.yml", lab.dir / "alerts.yml")
    (lab.dir / "filled_test.yml").write_text(wrong)
    done = run("promtool", "test", "rules", "filled_test.yml", cwd=lab.dir, check=False)
    shown = done.stdout + done.stderr
    check(all(f'alertname="{n}"' in shown for n in names) and "error expanding" not in shown and "no value" not in shown,
          "every sentence of an alert can be filled in")


def exported(lab):
    """Names of samples that the relay serves."""
    script = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9760/metrics', timeout=5).read().decode())"
    body = run(*in_relay(lab, "/usr/bin/python3", "-c", script)).stdout
    return {s.name for f in text_string_to_metric_families(body) for s in f.samples}


def start_prometheus(lab):
    """With the shipped file, but for haste."""
    folder = lab.dir / "prometheus"
    folder.mkdir()
    text = (FILES / "prometheus.yml").read_text()
    check("scrape_interval: 5s\n    static" in text, "the scrape's interval is what this test makes shorter")
    faster = text.replace("scrape_interval: 5s", "scrape_interval: 500ms")
    (folder / "prometheus.yml").write_text("global: { evaluation_interval: 1s }\n" + faster)
    shutil.copy(FILES / "alerts.yml", folder / "alerts.yml")
    log = open(lab.dir / "prometheus.log", "wb")
    child = subprocess.Popen(in_relay(lab, "prometheus", f"--config.file={folder}/prometheus.yml",
                                      f"--storage.tsdb.path={folder}/data",
                                      f"--web.listen-address=127.0.0.1:{PROMETHEUS}", "--log.level=warn"),
                             stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "1"})
    lab.children.append(child)


def ask(lab, path, queries=("",)):
    """Answers of Prometheus' HTTP API, one for each query."""
    script = ("import json, sys, urllib.error, urllib.parse, urllib.request\n"
              "for q in json.load(sys.stdin):\n"
              f"    url = 'http://127.0.0.1:{PROMETHEUS}/api/v1/{path}' + ('?query=' + urllib.parse.quote(q) if q else '')\n"
              "    try: print(urllib.request.urlopen(url, timeout=10).read().decode())\n"
              "    except urllib.error.HTTPError as e:\n"  # plain text until it has started
              "        print(e.read().decode() if e.code != 503 else json.dumps({'status': 'away'}))\n"
              "    except OSError as e: print(json.dumps({'status': 'away', 'error': str(e)}))\n")
    out = run(*in_relay(lab, "/usr/bin/python3", "-c", script), input=json.dumps(list(queries)))
    return [json.loads(line) for line in out.stdout.splitlines() if line]


def scrapes(lab, more):
    """So many further ones have been made."""
    def made():
        answer = ask(lab, "query", ['count_over_time(sluice_build_info{job="sluice"}[10m])'])[0]
        results = answer.get("data", {}).get("result", [])
        return float(results[0]["value"][1]) if results else 0
    goal = made() + more
    wait_until("scrapes", lambda: made() >= goal, 60, 0.3)


def check_queries(lab):
    queries = panel_queries()
    answers = ask(lab, "query", [e for _, e in queries])
    empty = []
    for (title, expr), answer in zip(queries, answers):
        if answer["status"] != "success":
            check(False, f"{title}: {expr}: {answer.get('error')}")
        if not answer["data"]["result"]:
            empty.append((title, expr))
    surprising = [(t, e) for t, e in empty if not MAY_BE_EMPTY & set(NAME.findall(e))
                  and not e.startswith(("ALERTS", "changes("))]
    check(not surprising,
          f"{len(queries)} queries of the dashboard are answered, {len(queries) - len(empty)} with data: {surprising}")
    rules = ask(lab, "rules")[0]["data"]["groups"]
    health = {r["name"]: r["health"] for g in rules for r in g["rules"]}
    check(set(health.values()) == {"ok"}, f"{len(health)} alerts are evaluated")


def check_alert(lab):
    """A relay that is stopped for a moment, and what the person on duty reads."""
    lab_relay = [int(p) for p in run("ip", "netns", "pids", lab.ns("relay")).stdout.split()
                 if run("ps", "-o", "comm=", "-p", p, check=False).stdout.strip() == "sluiced"]
    os.kill(lab_relay[0], signal.SIGSTOP)
    try:
        time.sleep(0.3)  # three times what counts as a pause
    finally:
        os.kill(lab_relay[0], signal.SIGCONT)

    def firing():
        return next((a for a in ask(lab, "alerts")[0]["data"]["alerts"]
                     if a["labels"]["alertname"] == "SluiceControlPaused" and a["state"] == "firing"), None)
    alert = wait_until("an alert", firing, 20, 0.3)
    check(alert["labels"]["severity"] == "warning" and "127.0.0.1:9760 stood still" in alert["annotations"]["summary"],
          "SluiceControlPaused fires and names the relay")
    alerts = ask(lab, "alerts")[0]["data"]["alerts"]
    critical = [a["labels"]["alertname"] for a in alerts if a["labels"]["severity"] == "critical"]
    check(not critical, f"nothing critical does: {critical}")


def test(lab):
    check_dashboard()
    check_rules(lab)
    with lab.config.open("a") as config:
        config.write("metrics: { listen: 127.0.0.1:9760 }\n")
    run(*in_relay(lab, "ip", "link", "set", "lo", "up"))
    lab.start_relay()
    start_prometheus(lab)
    scrapes(lab, 1)  # so that what happens from here on is a rate
    for name in lab.names:
        lab.start_agent(name)
    lab.wait_connected(60)
    traffic = Traffic(lab, "alpha", "beta", rate=200)
    names = exported(lab)
    used = set(NAME.findall((FILES / "dashboard.json").read_text())) | set(NAME.findall((FILES / "alerts.yml").read_text()))
    check(used - names <= {"sluice_audit_days_left"},
          f"all {len(used)} metrics of dashboard and alerts are exported: {used - names}")
    scrapes(lab, 4)
    check_queries(lab)
    traffic.stop()
    check_alert(lab)


if shutil.which("prometheus") is None:
    print("skipped: Prometheus is not installed (scripts/setup)")
    raise SystemExit(77)
main(test)
