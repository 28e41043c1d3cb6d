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
