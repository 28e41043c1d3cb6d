// Where one is: the part of the address behind `#`. It never holds a secret, and a reload comes back to it.
//
//   #/                                     the overview
//   #/applications                         the applications
//   #/tokens                               the access tokens
//   #/cluster                              the cluster, where the server is a node of one
//   #/a/<application>/webhooks[/<id>[/<tab>]]
//   #/a/<application>/flows[/<id>[/<tab>]]
//   #/a/<application>/globals

/** The parts of the address and its parameters. The section is null where the address cannot be read. */
export function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decoded);
  if (parts.includes(null)) return { app: null, section: null, parts: [], query: new URLSearchParams() };
  const inApplication = parts[0] === "a" && parts.length > 1;
  return {
    app: inApplication ? parts[1] : null,
    section: (inApplication ? parts[2] : parts[0]) ?? (inApplication ? "webhooks" : ""),
    parts: inApplication ? parts.slice(3) : parts.slice(1),
    query: new URLSearchParams(query),
  };
}

/** A part of the address without its percent-escapes; null where one of them is malformed. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}

/** The address of a place within an application. */
export function link(app, ...parts) {
  return `#/a/${[app, ...parts].map(encodeURIComponent).join("/")}`;
}

/** Goes somewhere. */
export function go(hash) {
  if (location.hash === hash) window.dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = hash;
}

/** Changes the parameters of the address without leaving the page or adding to its history. */
export function setQuery(parameters) {
  const [path] = location.hash.split("?");
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value !== null));
  history.replaceState(null, "", query.size > 0 ? `${path}?${query}` : path);
}

/** Calls a function now and every so often, one call at a time, while the page is looked at and until it is left. */
export function every(milliseconds, signal, work) {
  const turn = async () => {
    if (signal.aborted) return;
    if (!document.hidden) await work();
    if (!signal.aborted) setTimeout(turn, milliseconds);
  };
  turn();
}
