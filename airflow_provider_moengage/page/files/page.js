import { chart, duration, h, number, percent, rate, table, when } from "./view.js";

const main = document.getElementById("main");
const status = document.getElementById("status");
const VIEWS = [["syncs", "Syncs"]];

// Airflow's theme is a class of its own page. Alone in a window, the page follows the system.
function followTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let outside = null;
  try {
    outside = window.parent === window ? null : window.parent.document.documentElement;
  } catch { /* another site's frame */ }
  const apply = () => {
    const themed = outside && /\b(dark|light)\b/.exec(outside.className);
    document.documentElement.classList.toggle("dark", themed ? themed[1] === "dark" : system.matches);
  };
  apply();
  system.addEventListener("change", apply);
  if (outside) new MutationObserver(apply).observe(outside, { attributes: true, attributeFilter: ["class"] });
}

async function show(moved) {
  const [view = "syncs", ...parts] = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);
  const current = VIEWS.some(([name]) => name === view) ? view : "syncs";
  document.getElementById("views").replaceChildren(...VIEWS.map(([name, title]) =>
    h("a", { href: `#/${name}`, "aria-current": name === current ? "page" : null }, title)));
  status.textContent = "Loading …";
  try {
    const content = view === "sync" && parts.length === 2 ? await oneSync(...parts) : await PAGES[current]();
    main.replaceChildren(...content);
    status.textContent = `As of ${when(new Date().toISOString())}`;
  } catch (error) {
    main.replaceChildren(h("p", { class: "card", role: "alert" }, error.message));
    status.textContent = "";
  }
  if (moved) main.focus();
}

async function ask(path, options = {}) {
  const response = await fetch(`api/${path}`, { credentials: "same-origin", ...options });
  if (response.ok) return response.json();
  if (response.status === 401) throw new Error("Your session has ended. Log in to Airflow again.");
  if (response.status === 403) throw new Error("You may not see or do this. An admin of Airflow gives the permission.");
  const { detail } = await response.json().catch(() => ({}));
  throw new Error(typeof detail === "string" ? detail : `Airflow answered ${response.status}.`);
}

const path = (...parts) => parts.map(encodeURIComponent).join("/");

// The page is a frame that must not navigate Airflow itself, so a link of Airflow's own page does.
function toAirflow(text, ...parts) {
  const href = new URL(`../${path(...parts)}`, location.href).href;
  const go = (event) => {
    if (window.parent === window || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const link = window.parent.document.createElement("a");
    link.href = href;
    window.parent.document.body.append(link);
    link.click();
    link.remove();
  };
  return h("a", { href, onclick: go }, text);
}

const state = (run) => h("span", { class: `state ${run.state ?? ""}` }, (run.state ?? "no status").replaceAll("_", " "));
const rejected = (run) => (run.rejected ? h("span", { class: "some" }, number(run.rejected)) : number(run.rejected));
const codes = (counts) => Object.entries(counts ?? {}).map(([code, count]) => `${number(count)} ${code}`).join(", ");

const COUNTS = [
  { title: "Accepted", number: true, cell: (run) => [number(run.accepted), run.dry_run ? h("span", { class: "sub" }, "dry run") : null] },
  { title: "Rejected", number: true, cell: rejected },
  { title: "Unchanged", number: true, cell: (run) => number(run.unchanged) },
  { title: "Removed", number: true, cell: (run) => number(run.removed) },
  { title: "Rate", number: true, cell: (run) => rate(run.rate) },
  { title: "Share of limit", number: true, cell: (run) => percent(run.share_of_limit) },
  { title: "Waiting", number: true, cell: (run) => duration(run.throttled_seconds) },
];

const PAGES = { syncs: allSyncs };

async function allSyncs() {
  const { syncs } = await ask("syncs");
  if (!syncs.length) {
    return [h("p", { class: "card" }, "There is no sync in the Dags that you may read. A task with an operator of this provider appears here once Airflow has parsed its Dag.")];
  }
  const rows = syncs.map((sync) => ({ ...sync, last: sync.runs?.[0] ?? {} }));
  const columns = [
    { title: "Sync", cell: (row) => [h("a", { href: `#/sync/${path(row.dag_id, row.task_id)}` }, row.task_id), h("span", { class: "sub" }, row.dag_id)] },
    { title: "Last run", name: "when", cell: (row) => row.runs === null ? "not yours to read" : row.runs.length ? [when(row.last.started_at ?? row.last.run_after), h("span", { class: "sub" }, state(row.last))] : "none yet" },
    ...COUNTS.map((column) => ({ ...column, cell: (row) => column.cell(row.last) })),
    { title: "Rejects", cell: (row) => codes(row.last.rejects) || "–" },
  ];
  const list = h("div", {});
  const draw = (text) => {
    const wanted = text.toLowerCase();
    const found = rows.filter((row) => `${row.dag_id} ${row.task_id}`.toLowerCase().includes(wanted));
    list.replaceChildren(table(`${found.length} of ${rows.length} syncs`, columns, found));
  };
  draw("");
  const field = h("input", { id: "filter", type: "search", autocomplete: "off", oninput: (event) => draw(event.target.value) });
  return [
    h("div", { class: "filter" }, h("label", { for: "filter" }, "Dag or task"), field),
    h("section", { class: "card", "aria-label": "Syncs" }, list),
    h("p", { class: "note" }, "Share of limit: of 60,000 users and 60,000 events a minute, MoEngage's usual limit; for a segment, of 300 requests a minute."),
  ];
}

async function oneSync(dag, task) {
  const sync = await ask(`dags/${path(dag)}/tasks/${path(task)}/runs`);
  const { runs } = sync;
  const columns = [
    { title: "Run", name: "when", cell: (run) => [toAirflow(when(run.started_at ?? run.run_after), "dags", dag, "runs", run.run_id), h("span", { class: "sub" }, state(run))] },
    { title: "Duration", number: true, cell: (run) => duration(run.elapsed_seconds) },
    ...COUNTS,
    { title: "Retries", number: true, cell: (run) => number(run.retries) },
    { title: "Rejects by code", cell: (run) => codes(run.rejects) || "–" },
    { title: "Warnings by code", cell: (run) => codes(run.warnings) || "–" },
  ];
  const facts = [["Dag", toAirflow(dag, "dags", dag)], ["Operator", sync.operator], ["Connection", sync.moengage_conn_id ?? "not fixed in the Dag"]];
  return [
    h("p", {}, h("a", { href: "#/syncs" }, "← All syncs")),
    h("h2", {}, task),
    h("section", { class: "card", "aria-label": "Task" }, h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]))),
    h("section", { class: "card", "aria-labelledby": "over-runs" }, h("h3", { id: "over-runs" }, "Over the last runs"), runs.length ? chart(runs) : h("p", {}, "This task has not run yet.")),
    h("section", { class: "card", "aria-labelledby": "runs" }, h("h3", { id: "runs" }, "Runs"), runs.length ? table("Table of runs", columns, runs) : h("p", {}, "None yet.")),
  ];
}

followTheme();
document.getElementById("refresh").addEventListener("click", () => show(false));
window.addEventListener("hashchange", () => show(true));
show(false);
