// The calls of a webhook as they are kept here: what the list told, what the stream told since, each once. Nothing is drawn.

import { ask, askText, isAborted, paths, stream } from "./api.js";
import { elements, textAt } from "./json.js";
import { events } from "./stream.js";

/** Calls of a page of the list. */
const PER_PAGE = 100;
/** Calls that are kept: the oldest go, and can be asked for again. */
export const ROWS_MAX = 1_000;
const RETRY_MS = 2_000;

/** Spans that can be chosen, in seconds. */
export const SPANS = [["", "Any time"], ["300", "Last 5 min"], ["3600", "Last hour"], ["86400", "Last day"]];

/**
 * Follows the calls of a webhook. `told` has `rows()` after a change, `state(text, look)` of the connection, and
 * `error(error)`. `filters()` gives `{search, status, method, seconds, kind, connection}`.
 */
export function followRecords({ app, webhook, filters, told, signal }) {
  let rows = [];
  let held = [];
  let totalCount = 0;
  let skipped = 0;
  let unreachable = [];
  let isPaused = false;
  let turn = new AbortController();
  signal.addEventListener("abort", () => turn.abort());

  const query = () => {
    const { search, status, method, seconds, kind, connection } = filters();
    return {
      search: search?.trim(), status, method, kind, connection,
      since: seconds ? String(Date.now() - Number(seconds) * 1000) : "",
    };
  };
  const put = (item, isNew) => {
    const place = rows.findIndex((one) => one.id === item.id);
    if (place >= 0) rows[place] = item;
    else if (isNew && isPaused) held.push(item);
    else if (isNew) {
      rows.unshift(item);
      totalCount += 1;
    }
    if (rows.length > ROWS_MAX) rows.length = ROWS_MAX;
  };
  const list = async (more, within) => {
    const { text, json } = await askText(paths.requests(app, webhook.id), { query: { perPage: PER_PAGE, payload: "false", ...query(), ...more }, signal: within });
    return { json, items: elements(textAt(text, "items")).map((item) => JSON.parse(item)) };
  };
  const follow = async () => {
    turn.abort();
    turn = new AbortController();
    const mine = turn.signal;
    while (!mine.aborted) {
      try {
        const response = await stream(paths.requests(app, webhook.id), mine, { payload: "false", updates: "true", ...query() });
        // What came before the stream was open, or while it was lost, is in the list.
        const { json, items } = await list({}, mine);
        const oldest = items.at(-1)?.time;
        rows = oldest === undefined ? [] : [...items, ...rows.filter((one) => one.time < oldest)];
        ({ totalCount, skipped, unreachable } = json);
        told.state("live", "good");
        told.rows();
        for await (const event of events(response.body)) {
          if (event.type === "skipped") skipped += Number(event.data);
          else put(JSON.parse(event.data), event.type !== "update");
          told.rows();
        }
        told.state("ended, connecting again…", "warn");
      } catch (error) {
        if (isAborted(error) || mine.aborted) return;
        told.state(error.status === 0 || !error.status ? "lost, connecting again…" : error.message, "bad");
        if (error.status && error.status < 500) return told.error(error);
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  };
  return {
    get rows() { return rows; },
    get held() { return held.length; },
    get totalCount() { return totalCount; },
    get skipped() { return skipped; },
    get unreachable() { return unreachable; },
    get isPaused() { return isPaused; },
    /** Asks anew, with the filters of now. */
    restart() {
      rows = [];
      held = [];
      follow();
    },
    pause(next) {
      isPaused = next;
      if (!next) {
        rows = [...held.toReversed(), ...rows].slice(0, ROWS_MAX);
        totalCount += held.length;
        held = [];
      }
      told.rows();
    },
    /** Older ones than those that are here; answers whether there are more. */
    async older() {
      const last = rows.at(-1);
      if (!last) return false;
      const { items } = await list({ until: String(new Date(last.time).getTime() + 1) }, signal);
      const fresh = items.filter((item) => !rows.some((one) => one.id === item.id));
      rows = [...rows, ...fresh].slice(0, ROWS_MAX);
      told.rows();
      return fresh.length > 0;
    },
  };
}

/** One record whole, with its payload as the text that it is. */
export async function recordOf(app, webhook, id, signal) {
  const { json, text } = await askText(paths.request(app, webhook, id), { signal });
  return { ...json, payloadText: json.payload ? textAt(text, "payload") : null };
}

/** Sends one call again. */
export const replay = (app, webhook, id) => ask(paths.replay(app, webhook, id), { method: "POST", body: {} });

/** Sends several again: those with these ids, or those that the filters find. */
export function replaySeveral(app, webhook, ids, filters) {
  const query = ids ? {} : filters;
  return ask(paths.replays(app, webhook), { method: "POST", body: ids ? { ids } : {}, query });
}

/** How far the last replay of several is; null for none. */
export async function replayProgress(app, webhook, signal) {
  return (await ask(paths.requests(app, webhook), { query: { perPage: 1, payload: "false" }, signal })).replay;
}
