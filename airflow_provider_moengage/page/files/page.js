import { chart, duration, h, number, percent, plural, rate, table, told, waiting, when } from "./view.js";

const main = document.getElementById("main");
const status = document.getElementById("status");
const VIEWS = [["syncs", "Syncs"], ["imports", "File imports"], ["events", "Business events"]];

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
    const content = view === "sync" && parts.length === 2 ? await oneSync(...parts)
      : view === "instances" && parts.length === 3 ? await instancesOf(...parts)
      : view === "stored" && parts.length === 4 ? await instanceStored(...parts)
      : view === "rejects" && parts.length >= 3 ? await rejectsOf(...parts)
      : await PAGES[current]();
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
// A failed task leaves its counts, unless its process was killed (SIGKILL) or had nothing to count yet.
const hasNoCounts = (run) => ["failed", "up_for_retry"].includes(run.state) && run.accepted === undefined;
const syncState = (run) => h("span", { class: "sub" }, state(run), hasNoCounts(run) && h("span", { class: "sub why" }, "no counts: killed, or failed before it read anything"));
const rejected = (run) => (run.rejected ? h("span", { class: "some" }, number(run.rejected)) : number(run.rejected));
const codes = (counts) => Object.entries(counts ?? {}).map(([code, count]) => `${number(count)} ${code}`).join(", ");

const COUNTS = [
  { title: "Accepted", number: true, cell: (run) => [number(run.accepted), run.dry_run ? h("span", { class: "sub" }, "dry run") : null] },
  { title: "Rejected", number: true, cell: rejected },
  { title: "Unchanged", number: true, holds: (run) => run.unchanged, cell: (run) => number(run.unchanged) },
  { title: "No longer in query", number: true, holds: (run) => run.removed, cell: (run) => number(run.removed) },
  { title: "Rate", number: true, cell: (run) => rate(run.rate) },
  { title: "Share of limit", number: true, cell: (run) => percent(run.share_of_limit) },
  { title: "Waiting", number: true, cell: (run) => waiting(run.throttled_seconds) },
];

const RETRIES = { title: "Retries", number: true, holds: (run) => run.retries, cell: (run) => number(run.retries) };
const WARNINGS = { title: "Warnings by code", name: "codes", holds: (run) => Object.keys(run.warnings ?? {}).length, cell: (run) => codes(run.warnings) || "–" };

const PAGES = { syncs: allSyncs, imports: allImports, events: allEvents };

const card = (id, title, ...content) => h("section", { class: "card", "aria-labelledby": id }, h("h3", { id }, title), content);
const taskCell = (row) => [h("span", {}, row.task_id), h("span", { class: "sub" }, row.dag_id)];
const runCell = (row) => row.run === null ? "not yours to read"
  : row.run ? [toAirflow(when(row.run.run_after), "dags", row.dag_id, "runs", row.run.run_id), h("span", { class: "sub" }, state(row.run))]
  : "none yet";
const perRun = (tasks) => tasks.flatMap((task) => (task.runs?.length ? task.runs : [task.runs === null ? null : undefined]).map((run) => ({ ...task, run })));

async function allSyncs() {
  const { syncs } = await ask("syncs");
  if (!syncs.length) {
    return [h("p", { class: "card" }, "There is no sync in the Dags that you may read. A task with an operator of this provider appears here once Airflow has parsed its Dag.")];
  }
  const rows = syncs.map((sync) => ({ ...sync, last: sync.runs?.[0] ?? {} }));
  const columns = [
    { title: "Sync", cell: (row) => [h("a", { href: `#/sync/${path(row.dag_id, row.task_id)}` }, row.task_id), h("span", { class: "sub" }, row.dag_id)] },
    { title: "Last run", name: "when", cell: (row) => row.runs === null ? "not yours to read" : row.runs.length ? [when(row.last.run_after), syncState(row.last)] : "none yet" },
    ...told(COUNTS, rows.map((row) => row.last)).map((column) => ({ ...column, cell: (row) => column.cell(row.last) })),
    { title: "Rejects", name: "codes", cell: (row) => codes(row.last.rejects) || "–" },
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
  const stored = sync.is_mapped
    ? card("stored", "Stored between runs", h("p", {}, "Each instance of a mapped task has a state of its own: see the instances of a run."))
    : await storedOf(dag, task, -1);
  const columns = [
    { title: "Run", name: "when", cell: (run) => [toAirflow(when(run.run_after), "dags", dag, "runs", run.run_id), syncState(run), sync.is_mapped && h("a", { class: "sub", href: `#/instances/${path(dag, task, run.run_id)}` }, plural(run.instances, "instance"))] },
    { title: "Duration", number: true, cell: (run) => duration(run.elapsed_seconds) },
    ...told([...COUNTS, RETRIES], runs),
    { title: "Rejects by code", name: "codes", cell: (run) => rejectsCell(dag, task, run, !sync.is_mapped) },
    ...told([WARNINGS], runs),
  ];
  const facts = [["Dag", toAirflow(dag, "dags", dag)], ["Operator", sync.operator], ["Connection", sync.moengage_conn_id ?? "not fixed in the Dag"]];
  return [
    h("p", {}, h("a", { href: "#/syncs" }, "← All syncs")),
    h("h2", {}, `${dag}.${task}`),
    h("section", { class: "card", "aria-label": "Task" }, h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]))),
    h("section", { class: "card", "aria-labelledby": "over-runs" }, h("h3", { id: "over-runs" }, "Over the last runs"), runs.length ? chart(runs) : h("p", {}, "This task has not run yet.")),
    h("section", { class: "card", "aria-labelledby": "runs" }, h("h3", { id: "runs" }, "Runs"), runs.length ? table("Table of runs", columns, runs) : h("p", {}, "None yet.")),
    stored,
  ];
}

// The run of a killed worker has no counts, but may have a rejects file.
function rejectsCell(dag, task, run, isOne, index = -1) {
  const counted = codes(run.rejects);
  const mayHave = isOne && (run.rejected > 0 || hasNoCounts(run));
  return mayHave ? h("a", { href: `#/rejects/${path(dag, task, run.run_id, ...(index < 0 ? [] : [index]))}` }, counted || "look into its file") : counted || "–";
}

async function instancesOf(dag, task, run) {
  const found = await ask(`dags/${path(dag)}/tasks/${path(task)}/instances?run_id=${encodeURIComponent(run)}`);
  const rows = found.instances;
  const columns = [
    { title: "Instance", cell: (row) => [toAirflow(row.map_index, "dags", dag, "runs", run, "tasks", task, "mapped", String(row.map_index)), syncState(row)] },
    { title: "Duration", number: true, cell: (row) => duration(row.elapsed_seconds) },
    ...told([...COUNTS, RETRIES], rows),
    { title: "Rejects by code", name: "codes", cell: (row) => rejectsCell(dag, task, row, true, row.map_index) },
    ...told([WARNINGS], rows),
    { title: "Between runs", cell: (row) => h("a", { href: `#/stored/${path(dag, task, run, row.map_index)}` }, "what is stored") },
  ];
  const first = rows.length < found.count ? `; the first ${number(rows.length)} are shown` : "";
  return [
    h("p", {}, h("a", { href: `#/sync/${path(dag, task)}` }, `← ${dag}.${task}`)),
    h("h2", {}, `Instances of ${dag}.${task}`),
    h("p", { class: "note" }, run),
    h("section", { class: "card", "aria-label": "Instances" }, h("p", { class: "note" }, `${plural(found.count, "instance")}${first}`), table("Table of instances", columns, rows)),
  ];
}

async function instanceStored(dag, task, run, index) {
  return [
    h("p", {}, h("a", { href: `#/instances/${path(dag, task, run)}` }, "← All instances")),
    h("h2", {}, `Instance ${index} of ${dag}.${task}`),
    await storedOf(dag, task, Number(index)),
  ];
}

async function rejectsOf(dag, task, run, index = "-1") {
  const found = await ask(`dags/${path(dag)}/tasks/${path(task)}/rejects?run_id=${encodeURIComponent(run)}&map_index=${encodeURIComponent(index)}`);
  const messages = [
    { title: "Code", cell: (row) => row.code },
    { title: "Elements", number: true, cell: (row) => number(row.count) },
    { title: "Message", cell: (row) => row.message },
  ];
  const elements = [
    { title: "Position", cell: (row) => number(row.position) },
    { title: "Codes", cell: (row) => Object.keys(row.codes).join(", ") },
    { title: "Element, without its values", cell: (row) => h("pre", {}, JSON.stringify(row.element, null, 1)) },
  ];
  return [
    h("p", {}, h("a", { href: index === "-1" ? `#/sync/${path(dag, task)}` : `#/instances/${path(dag, task, run)}` }, `← ${dag}.${task}`)),
    h("h2", {}, `Rejects of ${dag}.${task}`),
    h("p", { class: "note" }, index === "-1" ? run : `${run}, instance ${index}`),
    card("by-code", `${plural(found.rejects, "reject")}${found.is_cut ? " in the part that was read" : ""}`, table("Rejects by code and message", messages, found.messages)),
    card("elements", "First elements", h("p", { class: "note" }, "Values are personal data. The command moengage rejects show has them."), table("First rejected elements", elements, found.elements)),
  ];
}

async function storedOf(dag, task, index) {
  const place = `dags/${path(dag)}/tasks/${path(task)}`;
  const { watermarks, changes, may_reset_changes: mayReset } = await ask(`${place}/state?map_index=${index}`);
  const facts = [];
  for (const { asset, moment, may_reset: may } of watermarks) {
    facts.push([`Watermark (${asset})`, [`${when(moment)} `, may && resetButton("Reset watermark", `${place}/watermark/reset`, task, index, "The next run begins as the first one did: it may send rows again.")]]);
  }
  if (changes?.is_unreadable) facts.push(["Changed rows", "The API server cannot read the folder of the states."]);
  else if (changes) {
    facts.push(["Known users and devices", [`${changes.users === null ? "the state is damaged; the next run sends every row" : number(changes.users)} `, mayReset && resetButton("Reset state", `${place}/changes/reset`, task, index, "The next run sends every row, and removes nobody.")]]);
    facts.push(["State of", [changes.run ?? "no finished run", changes.due ? ` (due ${when(changes.due)})` : ""]]);
    if (changes.unfinished === "yes") facts.push(["Unfinished run", "yes; the next try or run takes over what it has sent"]);
  }
  const text = "Nothing: no watermark, and no state of changed rows in the folder that airflow.cfg names. For a folder that the Dag names: moengage changes show.";
  return card("stored", "Stored between runs", facts.length ? h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])) : h("p", {}, text));
}

function resetButton(title, target, task, index, consequence) {
  return h("button", { type: "button", class: "danger", onclick: () => {
    const field = h("input", { id: "confirm", required: true, autocomplete: "off" });
    const problem = h("p", { role: "alert" });
    const dialog = h("dialog", { "aria-labelledby": "reset-title" }, h("form", { onsubmit: async (event) => {
      event.preventDefault();
      try {
        await ask(target, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ confirm: field.value, map_index: index }) });
        dialog.close();
        await show(true);
        status.textContent = "It was reset.";
      } catch (error) {
        problem.textContent = error.message;
      }
    } },
      h("h2", { id: "reset-title" }, title), h("p", {}, consequence),
      h("label", { for: "confirm" }, `To confirm, enter the task's ID: ${task}`), field, problem,
      h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), h("button", { type: "submit", class: "danger" }, title))));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  } }, title);
}

// Only a task that waits for its import knows the files.
const filesOf = (run) => (run?.files ? number(run.files.length) : run?.triggered_at ? "not waited for" : "–");

async function allImports() {
  const { imports } = await ask("imports");
  if (!imports.length) return [h("p", { class: "card" }, "There is no task of a file import in the Dags that you may read.")];
  const rows = perRun(imports);
  const runs = [
    { title: "Task", cell: taskCell },
    { title: "Run", name: "when", cell: runCell },
    { title: "Import", cell: (row) => row.run?.import_id ?? "–" },
    { title: "Triggered", name: "when", cell: (row) => when(row.run?.triggered_at) },
    { title: "Files", number: true, cell: (row) => filesOf(row.run) },
  ];
  const files = [
    { title: "File", cell: ({ file }) => [file.file_name ?? "–", file.status_msg && h("span", { class: "sub" }, file.status_msg)] },
    { title: "Task", cell: ({ row }) => taskCell(row) },
    { title: "Status", cell: ({ file }) => h("span", { class: `state ${file.file_status === "SUCCESSFUL" ? "success" : file.file_status === "FAILED" || file.file_status === "EXHAUSTED" ? "failed" : ""}` }, file.file_status ?? "–") },
    { title: "Completed", name: "when", cell: ({ file }) => when(file.completed_at) },
    ...["total", "added", "updated", "skipped", "failed"].map((kind) => ({ title: `${kind[0].toUpperCase()}${kind.slice(1)} rows`, number: true, cell: ({ file }) => number(file[`${kind}_rows`]) })),
  ];
  const found = rows.flatMap((row) => (row.run?.files ?? []).map((file) => ({ row, file })));
  return [
    h("h2", {}, "File imports"),
    card("import-runs", "Runs", table("Runs of file imports", runs, rows)),
    card("import-files", "Files", found.length ? table("Files of imports", files, found) : h("p", {}, "No task has returned files: a task that does not wait for its import knows none.")),
  ];
}

async function allEvents() {
  const { events, quotas } = await ask("events");
  if (!events.length) return [h("p", { class: "card" }, "There is no task that triggers a business event in the Dags that you may read.")];
  const runs = [
    { title: "Task", cell: taskCell },
    { title: "Run", name: "when", cell: runCell },
    { title: "Event", cell: (row) => row.run?.event_name ?? "–" },
    { title: "MoEngage's answer", cell: (row) => row.run?.dry_run ? "dry run" : row.run?.status ?? "–" },
    { title: "Campaigns and flows started", number: true, cell: (row) => number(row.run && "triggered_campaign_ids" in row.run ? row.run.triggered_campaign_ids + (row.run.triggered_flow_ids ?? 0) : null) },
    { title: "Skipped by quota", number: true, cell: (row) => number(row.run && "failed_campaign_ids" in row.run ? row.run.failed_campaign_ids + (row.run.failed_flow_ids ?? 0) : null) },
    { title: "Request ID", cell: (row) => row.run?.request_id ?? "–" },
  ];
  const used = [
    { title: "Connection", cell: (row) => row.moengage_conn_id ?? "not fixed in the Dag" },
    { title: "API", cell: (row) => row.api_version },
    { title: "Within", cell: (row) => row.window },
    { title: "Used", number: true, cell: (row) => row.used >= row.quota ? h("span", { class: "some" }, number(row.used)) : number(row.used) },
    { title: "Quota", number: true, cell: (row) => number(row.quota) },
  ];
  return [
    h("h2", {}, "Business events"),
    card("event-runs", "Runs", table("Runs of business events", runs, perRun(events))),
    card("event-quotas", "Quotas", table("Quotas of business events", used, quotas), h("p", { class: "note" }, "Used counts the tasks of the Dags that you may read. Notifiers, other programs and the dashboard share the quota, and are not counted.")),
  ];
}

followTheme();
document.getElementById("refresh").addEventListener("click", () => show(false));
window.addEventListener("hashchange", () => show(true));
show(false);
