// The flow that is edited: one JSON text, which the picture and the JSON tab both change, with undo.

import { jsonError } from "./json_error.js";

/** Steps that can be undone. */
const UNDO_MAX = 200;

/** What of a flow may be changed; the rest is the server's. */
const READ_ONLY = ["id", "flowId", "applicationId", "creationDate", "lastUpdated", "warnings"];

/** The text of a flow as it is edited. */
export function editable(flow) {
  return JSON.stringify(Object.fromEntries(Object.entries(flow).filter(([key]) => !READ_ONLY.includes(key))), null, 2);
}

/** Makes a document of a text; `changed(document)` is called after each change. */
export function flowDocument(text, changed = () => {}) {
  let past = [];
  let future = [];
  let lastKey = null;
  let flow = read(text);
  const put = (next) => {
    text = next;
    flow = read(next);
    changed();
  };
  return {
    get text() { return text; },
    /** The flow; null while the text is not that of one. */
    get flow() { return flow; },
    get canUndo() { return past.length > 0; },
    get canRedo() { return future.length > 0; },
    /**
     * Changes the flow. Changes with the same `key`, one after the other, are one step of undo: a field that is typed in.
     * Answers what `change` answers.
     */
    change(change, key = null) {
      if (flow === null) return undefined;
      const next = structuredClone(flow);
      const answer = change(next);
      this.setText(JSON.stringify(next, null, 2), key);
      return answer;
    },
    setText(next, key = null) {
      if (next === text) return;
      if (key === null || key !== lastKey) {
        past = [...past, text].slice(-UNDO_MAX);
        future = [];
      }
      lastKey = key;
      put(next);
    },
    undo() {
      if (past.length === 0) return;
      future = [text, ...future];
      lastKey = null;
      put(past.pop());
    },
    redo() {
      if (future.length === 0) return;
      past = [...past, text];
      lastKey = null;
      put(future.shift());
    },
  };
}

function read(text) {
  if (jsonError(text) !== null) return null;
  const value = JSON.parse(text);
  return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
}
