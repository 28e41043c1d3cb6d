// Times as people read them: 24 hours, in the browser's zone, which the page's foot names.

import { h } from "./dom.js";

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const SHORT_CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** Spans of "2 min ago": up to so many milliseconds, in a unit of so many. */
const AGO = [[10_000, 0, "just now"], [60_000, 1_000, "s"], [3_600_000, 60_000, "min"], [86_400_000, 3_600_000, "h"], [Number.MAX_SAFE_INTEGER, 86_400_000, "d"]];

/** How often what shows an age is looked over. */
const AGE_MS = 5_000;

/** The zone of all times, `Europe/Berlin, UTC+01:00`. */
export function zone(date = new Date()) {
  const minutes = -date.getTimezoneOffset();
  const part = (value) => String(Math.floor(Math.abs(value))).padStart(2, "0");
  const offset = `UTC${minutes < 0 ? "−" : "+"}${part(minutes / 60)}:${part(minutes % 60)}`;
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return name && name !== "UTC" ? `${name}, ${offset}` : offset;
}

/** A moment: the time of today, else date and time. */
export function moment(text) {
  if (!text) return "–";
  const date = new Date(text);
  return date.toDateString() === new Date().toDateString() ? CLOCK.format(date) : `${DAY.format(date)}, ${SHORT_CLOCK.format(date)}`;
}

/** A moment in full, with its zone. */
export function fullMoment(text) {
  if (!text) return "–";
  const date = new Date(text);
  const millis = String(date.getMilliseconds()).padStart(3, "0");
  return `${DAY.format(date)}, ${CLOCK.format(date)}.${millis} (${zone(date)})`;
}

/** Hours, minutes and seconds of a time in milliseconds. */
export function clock(millis, isShort) {
  return (isShort ? SHORT_CLOCK : CLOCK).format(new Date(millis));
}

/** How long ago a moment was: "2 min ago". */
export function ago(text, now = Date.now()) {
  if (!text) return "never";
  const age = Math.max(0, now - new Date(text).getTime());
  const [, unit, name] = AGO.find(([most]) => age < most);
  return unit === 0 ? name : `${Math.floor(age / unit)} ${name} ago`;
}

/** A moment as its age, which goes on by itself; the whole time is its title. */
export function agoTime(text) {
  return text ? h("time", { datetime: text, title: fullMoment(text), class: "ago" }, ago(text)) : h("span", { class: "quiet" }, "never");
}

/** A moment whose title tells the zone. */
export function momentTime(text) {
  return text ? h("time", { datetime: text, title: fullMoment(text) }, moment(text)) : h("span", { class: "quiet" }, "–");
}

/** Keeps the ages of the page true. */
export function keepAges() {
  setInterval(() => {
    for (const one of document.querySelectorAll("time.ago")) {
      const text = ago(one.dateTime);
      if (one.textContent !== text) one.textContent = text;
    }
  }, AGE_MS);
}
