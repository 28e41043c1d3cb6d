// What the page remembers. The access token and drafts live as long as the tab (sessionStorage); the theme and the
// chosen application, which are no secrets, outlive it.

const TOKEN = "tidegate.token";
const DRAFT = "tidegate.draft.";
const THEME = "tidegate.theme";
const APPLICATION = "tidegate.application";

/** Longest draft in characters: storage is some megabytes for all of them. */
const DRAFT_CHARACTERS_MAX = 500_000;

export const token = {
  read: () => sessionStorage.getItem(TOKEN),
  keep: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

// A link that is opened in a tab of its own stays signed in: the new tab asks those of the same origin, which a browser
// lets nobody else hear. Nothing is written anywhere; when the last tab closes, the token is gone.

const tabs = new BroadcastChannel("tidegate.tabs");
/** How long a new tab waits for another one's answer. */
const TABS_MS = 250;

tabs.addEventListener("message", ({ data }) => {
  if (data?.asks && token.read() !== null) tabs.postMessage({ answers: data.asks, token: token.read() });
  if (data?.signedOut && token.read() !== null) {
    token.forget();
    location.reload();
  }
});

/** Takes the token of another tab, if there is one; answers whether there was. */
export function askTabs() {
  const name = crypto.getRandomValues(new Uint32Array(2)).join("-");
  return new Promise((resolve) => {
    const end = (isFound) => {
      tabs.removeEventListener("message", listen);
      resolve(isFound);
    };
    const listen = ({ data }) => {
      if (data?.answers !== name) return;
      token.keep(data.token);
      end(true);
    };
    tabs.addEventListener("message", listen);
    tabs.postMessage({ asks: name });
    setTimeout(() => end(false), TABS_MS);
  });
}

/** Tells the other tabs that one has signed out: they are signed out, too. */
export function tellSignedOut() {
  tabs.postMessage({ signedOut: true });
}

/** What was typed into a form and not saved yet, by the form's name. */
export const drafts = {
  read(name) {
    const text = sessionStorage.getItem(DRAFT + name);
    try {
      return text === null ? null : JSON.parse(text);
    } catch {
      return null;
    }
  },
  keep(name, value) {
    const text = JSON.stringify(value);
    if (text.length > DRAFT_CHARACTERS_MAX) return;
    try {
      sessionStorage.setItem(DRAFT + name, text);
    } catch {
      // The storage is full: the form itself still holds what was typed.
    }
  },
  forget: (name) => sessionStorage.removeItem(DRAFT + name),
};

/** `auto`, `light` or `dark`. */
export const theme = {
  read: () => localStorage.getItem(THEME) ?? "auto",
  keep: (value) => localStorage.setItem(THEME, value),
  apply() {
    const chosen = theme.read();
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
  },
};

/** The application that was looked at last. */
export const application = {
  read: () => localStorage.getItem(APPLICATION),
  keep: (id) => localStorage.setItem(APPLICATION, id),
};
