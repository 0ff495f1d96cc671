// The page: fetches a snapshot from the emulator once a second, and draws what changed.

import { bars, none } from "./charts.js";
import { at, h, s, scroll, show, table } from "./dom.js";
import { bytes, clock, count, minute, moment, number, percent, span } from "./format.js";

const EVERY = 1000;
const PATIENCE = 10_000;
const ENDED = ["well", "throttled", "refused", "faulted"];
const ENDED_WORDS = { well: "OK", throttled: "429", refused: "Refused", faulted: "Injected fault" };
const PEEK = 10;
const LONGEST = 3000;
const FAULTS = [
  ["Answer 500, accept nothing", { kind: "status", status: 500 }],
  ["Answer 503, accept nothing", { kind: "status", status: 503 }],
  ["Answer 429, accept nothing", { kind: "status", status: 429 }],
  ["Accept, then answer 502", { kind: "status_after", status: 502 }],
  ["Cut the connection, accept nothing", { kind: "cut_before" }],
  ["Accept, then cut the connection", { kind: "cut_after" }],
  ["Delay the answer", { kind: "slow" }],
  ["Answer with a proxy's login page", { kind: "html" }],
];

const PATHS = [
  ["All", null],
  ["Bulk import", "/v1/transition"],
  ["Business events v1", "/v1.0/business_event"],
  ["Business events v5", "/v5/business-events"],
  ["File imports", "/v1.0/data/fileimports"],
];

const asked = new URLSearchParams(location.search).get("workspace");
const path = (name, query = {}) => {
  const all = new URLSearchParams({ ...query, ...(asked ? { workspace: asked } : {}) }).toString();
  return `/_emulator/${name}${all ? `?${all}` : ""}`;
};

let last = null; // the last snapshot
let connection = null;
let failed = false;
let wanted = null; // the ID of the user who is shown
let timer = null;

async function call(method, name, payload, query) {
  const body = payload === undefined ? undefined : JSON.stringify(payload);
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(path(name, query), { method, headers, body, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error ?? `HTTP ${answer.status}`);
  return said;
}

// Refreshes the page now, and then every second while it is visible.
async function refresh() {
  clearTimeout(timer);
  try {
    connection ??= await call("GET", "connection");
    const snapshot = await call("GET", "picture");
    failed = false;
    last = snapshot;
    draw(snapshot);
  } catch (error) {
    failed = true;
    connection = null; // the keys may change with a restart
    at("never").textContent = `Nothing to show yet (${error.message}); retrying every second.`;
  }
  at("never").hidden = !failed || last !== null;
  at("lost").hidden = !failed || last === null;
  at("state").dataset.state = failed ? "lost" : "live";
  at("state").textContent = failed ? "not responding" : "live";
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, EVERY);
}

function draw(snapshot) {
  at("lost-at").textContent = `${clock(snapshot.now)} UTC`;
  at("clock").textContent = `${moment(snapshot.now)} UTC`;
  show("workspace", snapshot.workspace_id, (id) => id);
  show("others", [snapshot.workspace_id, snapshot.workspaces], drawOthers);
  show("counts", [snapshot.counts, snapshot.outcomes, snapshot.projects], drawCounts);
  show("events", snapshot.events, drawEvents);
  show("limits", [snapshot.limits, snapshot.now], drawLimits);
  show("fill", snapshot.fill, drawFill);
  drawRequests(snapshot);
  show("faults", snapshot.faults, drawFaults);
  show("failures", [snapshot.failures, snapshot.dropped, snapshot.counts.future_events], drawFailures);
  show("imports", snapshot.file_imports, drawImports);
  show("business", [snapshot.business_events, snapshot.quotas], drawBusiness);
  show("campaigns", snapshot.campaigns, drawCampaigns);
  show("segments", snapshot.segments, drawSegments);
  drawConnection(snapshot.counts.requests === 0);
  peek();
  lookUp();
}

function drawOthers([mine, all]) {
  const others = all.filter((id) => id !== mine);
  return others.length ? ["(also: ", ...others.flatMap((id, place) => [place ? ", " : "", h("a", { href: `/?${new URLSearchParams({ workspace: id })}` }, id)]), ")"] : [];
}

function drawCounts([counts, outcomes, projects]) {
  const tile = (name, value, sub, kind) =>
    h("div", { "data-kind": value ? kind : null }, h("dt", {}, name), h("dd", {}, number(value)), h("dd", { class: "sub" }, sub ?? ""));
  const share = (value) => (counts.requests ? `${percent(value / counts.requests)} of all` : "");
  return [
    tile("Customer elements", counts.customers, `${counts.users_approximate ? "over " : ""}${count(counts.users, "user")} seen`),
    tile("Events", counts.actions, count(counts.events, "element")),
    counts.devices ? tile("Devices", counts.devices, "push tokens") : null,
    projects.shown.length ? tile("Projects", projects.shown.length + projects.left_off, [...projects.shown.map(([code, elements]) => `${cut(code)}: ${number(elements)}`), projects.left_off ? "..." : null].filter(Boolean).join(", ")) : null,
    tile("Requests", counts.requests, `${bytes(counts.bytes)} accepted`),
    tile("Requests answered 429", outcomes.throttled, share(outcomes.throttled), "throttled"),
    tile("Requests refused", outcomes.refused, share(outcomes.refused), "refused"),
    tile("Requests hit by faults", outcomes.faulted, share(outcomes.faulted), "faulted"),
    tile("Business events triggered", counts.firings, `${count(counts.campaigns_started, "campaign")} started`),
    tile("Runs of file imports", counts.file_runs, `${number(counts.file_triggers)} triggered`),
  ];
}

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const WORDS = {
  arrival: ["no time", "without a time: MoEngage uses their time of arrival"],
  unreadable: ["unreadable", "with a time in an undocumented format"],
  "(other)": ["others", "of further names and days, counted together"],
};

function drawEvents({ unit, step, bars: times, words, series, others }) {
  const by = step > 1 ? `span of ${count(step, unit)}` : unit;
  series = series.map((row) => ({ ...row, name: cut(row.name) }));
  const rows = [...series, ...(others.total ? [{ ...others, name: `${count(others.names, "other name")}` }] : [])];
  at("events-title").textContent = `Events by ${by}`;
  const note = at("events-note");
  note.textContent = "By the time of each event, in UTC";
  const [begins, ends] = [times[0]?.split("–")[0], times.at(-1)?.split("–").at(-1)];
  if (times.length) note.textContent += `: ${begins}${times.length > 1 ? ` to ${ends}` : ""}, one bar per ${step > 1 ? count(step, unit) : unit}`;
  at("events-legend").replaceChildren(...rows.map((row, place) => key(`c${slot(row, place, series)}`, row.name, row.total)));
  at("events-table").closest("details").hidden = !rows.length;
  if (!rows.length) return none(at("events"), h("p", { class: "empty" }, "No events yet. They will be counted here by name and day."));
  const values = (place) => rows.map((row) => row.counts[place]);
  const title = (when, place) =>
    [`${when}: ${count(sum(values(place)), "event")}`, ...rows.filter((row) => row.counts[place]).map((row) => `${row.name}: ${number(row.counts[place])}`)].join("\n");
  const columns = times.map((time, place) => ({ label: short(time, unit), title: title(unit === "week" ? `Week of ${time}` : time, place), values: values(place) }));
  words.forEach((word, index) => {
    const place = times.length + index;
    const [label, meaning] = WORDS[word] ?? [word, word];
    columns.push({ label, must: true, apart: true, title: title(`Events ${meaning}`, place), values: values(place) });
  });
  const said = rows.map((row) => `${row.name} ${number(row.total)}`).join(", ");
  bars(at("events"), { columns, kinds: rows.map((row, place) => `c${slot(row, place, series)}`), height: 246, label: `Events by ${by} and name: ${said}` });
  const names = [...times, ...words.map((word) => (WORDS[word] ?? [word])[0])];
  const filled = names.map((name, place) => [name, values(place)]).filter(([, counts]) => sum(counts));
  at("events-table").replaceChildren(
    ...table([[capital(step > 1 ? `${unit}s` : unit), ([name]) => name], ...rows.map((row, place) => [row.name, ([, counts]) => number(counts[place]), true])], filled).filter(Boolean),
  );
}

const slot = (row, place, series) => (place < series.length ? place : 6);
const sum = (values) => values.reduce((total, value) => total + value, 0);
const cut = (text) => (text.length > 80 ? `${text.slice(0, 80)}…` : text);
const capital = (word) => word[0].toUpperCase() + word.slice(1);
const short = (time, unit) => (unit === "day" || unit === "week" ? `${MONTHS[time.slice(5, 7) - 1]} ${Number(time.slice(8))}` : time);

function key(kind, name, value) {
  const mark = s("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, s("rect", { class: kind, width: 10, height: 10, rx: 2 }));
  return h("li", {}, mark, h("span", {}, name), h("b", {}, number(value)));
}

function drawLimits([limits, now]) {
  return ["users", "events"].map((unit) => {
    const limit = limits[unit];
    if (limit === null) return h("p", { class: "gauge" }, `${capital(unit)}: no limit`);
    const share = limit.used / limit.limit;
    const left = limit.limit - limit.used;
    const wait = Math.max(Math.ceil(limit.frees_at - now), 0);
    const text = left ? `${number(left)} left` : `limit reached: free in ${count(wait, "second")}`;
    return h(
      "div",
      { class: "gauge" },
      h("p", { class: "label" }, h("span", {}, `${capital(unit)}: `, h("b", { class: "num" }, number(limit.used)), ` of ${number(limit.limit)}`), h("span", { class: "num" }, percent(share))),
      gauge(limit.used, limit.limit, `${capital(unit)} used of the last minute's limit`),
      h("p", { class: "note num" }, text),
    );
  });
}

function gauge(used, limit, label, small) {
  const share = Math.min(used / limit, 1);
  const inner = h("div");
  inner.style.width = `${share * 100}%`;
  const level = share >= 1 ? "full" : share >= 0.9 ? "near" : "room";
  return h(
    "div",
    { class: `bar${small ? " small" : ""}`, role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": limit, "aria-valuenow": used, "aria-valuetext": `${number(used)} of ${number(limit)}`, "data-level": level },
    inner,
  );
}

function drawFill({ requests, mean, steps, limit }) {
  at("fill-note").textContent = requests ? `${percent(mean)} of ${bytes(limit ?? 100000)} on average` : "Share of the maximum body size";
  if (!requests) return none(at("fill"), h("p", { class: "empty" }, "No bulk request has been accepted yet."));
  const columns = steps.map((value, place) => ({
    label: place === 0 ? "0%" : place === steps.length - 1 ? "100%" : place === 4 ? "50%" : "",
    must: true,
    title: `${place * 10} to ${place * 10 + 10}% full: ${count(value, "request")}`,
    values: [value],
  }));
  const said = steps.map((value, place) => (value ? `${place * 10} to ${place * 10 + 10}%: ${number(value)}` : "")).filter(Boolean);
  bars(at("fill"), { columns, kinds: ["c0"], height: 104, label: `Requests by fill: ${said.join(", ")}` });
}

function drawRequests({ timeline, now }) {
  const unit = document.querySelector("input[name=span]:checked").value;
  const hides = at("no-polls").checked;
  const { seconds, slots } = timeline[unit];
  const rows = timeline[unit].rows.map(([begins, well, ...others]) => [begins, well - (hides ? others[4] : 0), ...others]).filter((row) => !hides || sum(row.slice(1, 5)));
  const newest = Math.floor(now / seconds) * seconds;
  show("requests", [unit, hides, rows, rows.length ? newest : 0], () => {
    const found = new Map(rows.map((row) => [row[0], row]));
    const totals = [0, 1, 2, 3].map((place) => sum(rows.map((row) => row[place + 1])));
    const elements = sum(rows.map((row) => row[5]));
    at("requests-note").textContent = `Last ${span(seconds * slots)}: ${count(sum(totals), "request")} with ${count(elements, "element")} accepted, one bar per ${unit} (UTC)`;
    at("requests-legend").hidden = !rows.length;
    at("requests-legend").replaceChildren(...ENDED.map((name, place) => key(name, ENDED_WORDS[name], totals[place])));
    at("requests-table").closest("details").hidden = !rows.length;
    if (!rows.length) return none(at("requests"), h("p", { class: "empty" }, `No requests in the last ${span(seconds * slots)}.`));
    const time = unit === "second" ? clock : minute;
    const every = unit === "second" ? 15 : 900;
    const columns = Array.from({ length: slots }, (_, place) => {
      const begins = newest - (slots - 1 - place) * seconds;
      const row = found.get(begins) ?? [begins, 0, 0, 0, 0, 0];
      const counts = row.slice(1, 5);
      const said = ENDED.map((name, index) => (counts[index] ? `${ENDED_WORDS[name]}: ${number(counts[index])}` : "")).filter(Boolean);
      return { label: begins % every === 0 ? time(begins) : "", title: [`${time(begins)}: ${count(sum(counts), "request")}, ${count(row[5], "element")} accepted`, ...said].join("\n"), values: counts };
    });
    bars(at("requests"), { columns, kinds: ENDED, height: 150, label: `Requests by ${unit}: ${ENDED.map((name, place) => `${ENDED_WORDS[name]} ${number(totals[place])}`).join(", ")}` });
    const heads = ENDED.map((name, place) => [ENDED_WORDS[name], (row) => number(row[place + 1]), true]);
    at("requests-table").replaceChildren(...table([["Time (UTC)", (row) => time(row[0])], ...heads, ["Elements accepted", (row) => number(row[5]), true]], rows.toReversed()).filter(Boolean));
  });
}

function describe(fault) {
  const known = FAULTS.find(([, what]) => what.kind === fault.kind && (!what.status || what.status === fault.status));
  const name = known?.[0] ?? (fault.kind === "refuse" ? `Refuse bodies with the customer ${fault.customer_id}` : fault.kind + (fault.status ? ` ${fault.status}` : ""));
  const wait = fault.kind === "slow" ? ` after ${count(fault.seconds, "second")}` : "";
  const turns = fault.times === null ? "no limit" : `${count(fault.times, "request")} left`;
  const chance = fault.probability < 1 ? `, probability ${percent(fault.probability)}` : "";
  const where = fault.path ? `, only ${fault.path}` : "";
  return `${name}${wait}: ${turns}${fault.after ? `, after ${count(fault.after, "request")}` : ""}${chance}${where}`;
}

function drawFaults(faults) {
  if (!faults.length) return h("p", { class: "note" }, "No faults are queued.");
  const shown = faults.slice(0, 10);
  return [
    h("h3", {}, "Pending faults"),
    h("ul", { class: "pending" }, shown.map((fault) => h("li", {}, describe(fault))), faults.length > 10 ? h("li", {}, `and ${number(faults.length - 10)} more`) : null),
    h("button", { type: "button", class: "small", onclick: () => act(() => call("DELETE", "faults"), "Faults removed") }, "Clear"),
  ];
}

function drawFailures([failures, dropped, future]) {
  const lost = Object.entries(dropped);
  if (!failures.length && !lost.length && !future) return h("p", { class: "empty" }, "No failures yet. They will be counted here by reason.");
  const rows = [
    ...lost.map(([id, elements]) => ({ outcome: "dropped", endpoint: "Bulk import", status: 200, reason: `MoEngage accepts customer_id "${id}" with a 200, then drops it`, said: count(elements, "element"), last_at: null })),
    ...(future ? [{ outcome: "dropped", endpoint: "Bulk import", status: 200, reason: "MoEngage accepts events in the future with a 200, then drops them", said: count(future, "action"), last_at: null }] : []),
    ...failures.map((failure) => ({ ...failure, said: count(failure.count, "request") })),
  ];
  const word = (outcome) => (outcome === "dropped" ? "Dropped" : ENDED_WORDS[outcome]);
  const shown = h(
    "table",
    {},
    ...table(
      [
        ["Outcome", (row) => h("span", { class: "pill", "data-state": row.outcome }, word(row.outcome))],
        ["Endpoint", (row) => row.endpoint],
        ["Answer", (row) => (row.status === null ? "none" : String(row.status))],
        ["Reason", (row) => row.reason],
        ["Count", (row) => row.said, true],
        ["Last (UTC)", (row) => (row.last_at === null ? "" : clock(row.last_at)), true],
      ],
      rows,
    ).filter(Boolean),
  );
  return scroll("Failures", shown);
}

const STATES = { SUCCESSFUL: "good", FAILED: "bad", EXHAUSTED: "bad", PARTIAL_SUCCESS: "part", PARTIAL_FAILURE: "part" };
const status = (word) => h("span", { class: "pill", "data-state": STATES[word] ?? "wait" }, word);

function drawImports({ shown, left_off }) {
  if (!shown.length)
    return h("p", { class: "empty" }, "No file imports. Start with ", h("code", {}, "moengage-emulator --file-import nightly"), ", or ", h("code", {}, "--file-import nightly=FOLDER"), " to check real files.");
  return [...shown.map(drawImport), left_off ? h("p", { class: "note" }, `and ${number(left_off)} more`) : null];
}

function drawImport(one) {
  const facts = [one.import_id === one.import_name ? null : one.import_id, one.import_type, one.import_source, one.schedule_type.toLowerCase(), one.state === "active" ? null : one.state, count(one.runs_begun, "run"), one.folder];
  const head = h(
    "header",
    {},
    h("h3", {}, cut(one.import_name)),
    h("span", { class: "note" }, facts.filter(Boolean).join(" · ")),
    one.state === "active" ? h("button", { type: "button", class: "small", "aria-label": `Run ${one.import_name} now`, onclick: () => act(() => call("POST", "file_imports/run", { import_id: one.import_id }), `${one.import_name} started`) }, "Run now") : null,
    one.state === "active" && one.opens_at !== null ? h("span", { class: "note num" }, `triggers are refused until ${clock(one.opens_at)}`) : null,
  );
  if (!one.runs.length) return h("div", { class: "import" }, head, h("p", { class: "note" }, "No runs yet."));
  const rows = one.runs.flatMap((run) => {
    const began = `${run.number}, ${clock(run.began_at)}, ${run.triggered ? "API trigger" : "schedule"}`;
    if (!run.files.length) return [{ began, file_name: "no file yet", status: run.status, rows: null }];
    const more = run.left_off ? [{ began: "", file_name: `and ${count(run.left_off, "more file", "more files")}`, status: null, rows: null }] : [];
    return [...run.files.map((file, place) => ({ ...file, began: place ? "" : began })), ...more];
  });
  const of = (name) => (row) => (row.rows ? number(row.rows[name]) : "–");
  const columns = [
    ["Run", (row) => row.began],
    ["File", (row) => cut(row.file_name)],
    ["Status", (row) => (row.status ? status(row.status) : "")],
    ["Rows", of("total"), true],
    ["Added", of("added"), true],
    ["Updated", of("updated"), true],
    ["Failed", of("failed"), true],
    ["Skipped", of("skipped"), true],
    ["Message", (row) => cut(row.message ?? "")],
  ];
  return h("div", { class: "import" }, head, scroll(`Runs of ${one.import_name}`, h("table", {}, ...table(columns, rows).filter(Boolean))));
}

function drawBusiness([{ shown, left_off }, quotas]) {
  const events = shown.length
    ? h(
        "table",
        {},
        ...table(
          [
            ["Business event", (row) => (row.defined ? cut(row.name) : `${cut(row.name)} (no longer defined)`)],
            ["Starts", (row) => [count(row.campaigns, "campaign"), row.flows ? count(row.flows, "flow") : null].filter(Boolean).join(", ")],
            ["Fired", (row) => number(row.fired), true],
            ["Campaigns started", (row) => number(row.campaigns_started), true],
            ["Last (UTC)", (row) => (row.last_at === null ? "–" : clock(row.last_at)), true],
          ],
          shown,
        ).filter(Boolean),
      )
    : h("p", { class: "empty" }, "No business events. Start with ", h("code", {}, 'moengage-emulator --business-event "New movie"'), ".");
  if (!shown.length) return events;
  const spent = quotas.length
    ? h(
        "table",
        {},
        ...table(
          [
            ["Quota", ([name]) => name],
            ["Used", ([name, windows]) => h("div", { class: "windows" }, windows.map((row) => h("div", {}, `${number(row.used)} of ${number(row.limit)} in ${span(row.seconds)}`, gauge(row.used, row.limit, `${name} in ${span(row.seconds)}`, true))))],
          ],
          [...new Set(quotas.map(({ name }) => name))].map((name) => [name, quotas.filter((row) => row.name === name)]),
        ).filter(Boolean),
      )
    : h("p", { class: "empty" }, "No quotas.");
  return [scroll("Business events", events, left_off ? h("p", { class: "note" }, `and ${number(left_off)} more`) : null), scroll("Quotas of business events", spent)];
}

let wasEmpty = null;
function drawCampaigns({ shown, left_off, pages_read, quota }) {
  if (!shown.length) return h("p", { class: "empty" }, "No campaigns. Start with ", h("code", {}, 'moengage-emulator --campaign "Weekly offer"'), ".");
  const days = (row) => (row.first_day || row.last_day ? `${row.first_day ?? "…"} to ${row.last_day ?? "…"}` : "every day");
  const rows = h(
    "table",
    {},
    ...table(
      [
        ["Campaign", (row) => cut(row.name)],
        ["ID", (row) => cut(row.id)],
        ["Channel", (row) => row.channel],
        ["Status", (row) => row.status],
        ["Ran", days],
        ["Sent a day", (row) => number(row.sent_per_day), true],
      ],
      shown,
    ).filter(Boolean),
  );
  const used = quota.map((row) => `${number(row.used)} of ${number(row.limit)} requests in ${span(row.seconds)}`).join(", ");
  const note = h("p", { class: "note num" }, `Pages of statistics read: ${number(pages_read)}${used ? ` · ${used}` : ""}`);
  return [scroll("Campaigns", rows, left_off ? h("p", { class: "note" }, `and ${number(left_off)} more`) : null), note];
}

function drawSegments({ shown, left_off, quota }) {
  if (!shown.length) return h("p", { class: "empty" }, "No segments.");
  const rows = h(
    "table",
    {},
    ...table(
      [
        ["Segment", (row) => cut(row.name)],
        ["ID", (row) => cut(row.id)],
        ["Members", (row) => number(row.members), true],
        ["First members", (row) => cut(row.first.join(", ") + (row.members > row.first.length ? ", …" : ""))],
        ["Added", (row) => number(row.added), true],
        ["Removed", (row) => number(row.removed), true],
      ],
      shown,
    ).filter(Boolean),
  );
  const used = quota.map((row) => `${number(row.used)} of ${number(row.limit)} requests in ${span(row.seconds)}`).join(", ");
  const note = used ? h("p", { class: "note num" }, used) : null;
  return [scroll("Segments", rows, left_off ? h("p", { class: "note" }, `and ${number(left_off)} more`) : null), note];
}

function drawConnection(empty) {
  show("curl", connection.curl, (text) => text);
  show("airflow", connection.airflow, (text) => text);
  show("url", connection.url, (text) => text);
  show("login", connection.workspace_id, (text) => text);
  show("data-key", connection.data_api_key, (text) => text);
  show("campaign-key", connection.campaign_api_key, (text) => text);
  if (empty === wasEmpty) return;
  wasEmpty = empty;
  at("first").hidden = !empty;
  at("connect-title").textContent = empty ? "Nothing received yet: send a first element" : "How to connect";
  at("connect").open = empty;
}

async function peek() {
  if (!at("peek").open) return;
  try {
    const { elements } = await call("GET", "elements", undefined, { last: PEEK });
    show("elements", elements.map(({ request, position, text }) => [request, position, text]), drawElements);
  } catch {
    // the next refresh shows them, or that the emulator does not respond
  }
}

async function lookUp() {
  if (wanted === null) return;
  const id = wanted;
  try {
    const { user } = await call("GET", "users", undefined, { id });
    if (id === wanted) show("user", [id, user], drawUser);
  } catch {
    // the next refresh shows the user, or that the emulator does not respond
  }
}

function drawUser([id, user]) {
  if (user === null) return h("p", { class: "empty" }, `No user has the ID ${cut(id)}.`);
  const json = (value) => {
    const text = JSON.stringify(value);
    return text.length > LONGEST ? `${text.slice(0, LONGEST)} …` : text;
  };
  const list = (label, columns, given) => scroll(label, h("table", {}, ...table(columns, given).filter(Boolean)));
  const named = (object) => Object.entries(object).sort(([one], [other]) => (one < other ? -1 : 1));
  const attributes = list("Attributes of the user", [["Attribute", ([name]) => name], ["Value", ([, value]) => json(value)]], named(user.attributes));
  const devices = named(user.devices);
  const events = user.events.toReversed();
  return [
    h("h3", {}, "Attributes"),
    attributes,
    devices.length ? h("h3", {}, "Devices") : null,
    devices.length ? list("Devices of the user", [["Device", ([name]) => name], ["Attributes", ([, value]) => json(value)]], devices) : null,
    h("h3", {}, "Events"),
    events.length
      ? list("Events of the user", [["Event", (row) => row.name], ["Time", (row) => (row.time === null ? "of arrival" : String(row.time))], ["Attributes", (row) => json(row.attributes)]], events)
      : h("p", { class: "empty" }, "No events."),
    user.event_count > events.length ? h("p", { class: "note" }, `the last ${number(events.length)} of ${number(user.event_count)}`) : null,
  ];
}

function drawElements(elements) {
  if (!elements.length) return h("p", { class: "empty" }, "No elements are kept.");
  const cutOff = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST)} … and ${count(text.length - LONGEST, "more character")}` : text);
  return elements.toReversed().map(([request, position, text]) => h("pre", { class: "element", tabindex: 0 }, `request ${number(request)}, element ${number(position + 1)}: ${cutOff(text)}`));
}

let hush = null;
function say(text) {
  at("said").textContent = text;
  clearTimeout(hush);
  hush = setTimeout(() => (at("said").textContent = ""), 5000);
}

async function act(action, done) {
  try {
    await action();
    say(done);
  } catch (error) {
    say(`Error: ${error.message}`);
  }
  await refresh();
}

async function sendFirst() {
  const { url: _, workspace_id: id, data_api_key: secret } = connection;
  const elements = [
    { type: "customer", customer_id: "u-001", attributes: { tier: "gold" } },
    { type: "event", customer_id: "u-001", actions: [{ action: "First event", attributes: {}, current_time: new Date(last.now * 1000).toISOString() }] },
  ];
  const login = btoa(String.fromCharCode(...new TextEncoder().encode(`${id}:${secret}`)));
  const answer = await fetch(`/v1/transition/${encodeURIComponent(id)}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Basic ${login}` },
    body: JSON.stringify({ type: "transition", elements }),
  });
  if (!answer.ok) throw new Error(`the emulator answered ${answer.status}`);
}

function begin() {
  at("fault-kind").replaceChildren(...FAULTS.map(([name], place) => h("option", { value: place }, name)));
  at("fault-kind").addEventListener("change", () => {
    const slow = FAULTS[at("fault-kind").value][1].kind === "slow";
    for (const node of document.querySelectorAll(".of-slow")) node.hidden = !slow;
  });
  at("fault-path").replaceChildren(...PATHS.map(([name, prefix]) => h("option", { value: prefix ?? "" }, prefix ? `${name} (${prefix})` : name)));
  at("fault").addEventListener("submit", (event) => {
    event.preventDefault();
    const fault = { ...FAULTS[at("fault-kind").value][1], times: at("fault-times").valueAsNumber };
    if (fault.kind === "slow") fault.seconds = at("fault-seconds").valueAsNumber;
    if (at("fault-path").value) fault.path = at("fault-path").value;
    act(() => call("POST", "faults", fault), "Fault added");
  });
  at("send").addEventListener("click", () => act(sendFirst, "Sent: one customer and one event"));
  for (const button of document.querySelectorAll("[data-copy]"))
    button.addEventListener("click", async () => {
      const source = at(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent);
        say("Copied");
      } catch {
        getSelection().selectAllChildren(source);
        say("Selected: copy it with the keyboard");
      }
    });
  for (const choice of document.querySelectorAll("input[name=span]")) choice.addEventListener("change", () => last && drawRequests(last));
  at("peek").addEventListener("toggle", () => last && peek());
  at("find-user").addEventListener("submit", (event) => {
    event.preventDefault();
    wanted = at("user-id").value;
    lookUp();
  });
  at("reset").addEventListener("click", () => at("sure").showModal());
  at("keep").addEventListener("click", () => at("sure").close());
  at("forget").addEventListener("click", () => {
    at("sure").close();
    act(() => call("POST", "reset"), "Reset");
  });
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  refresh();
}

begin();
