'use strict';
// Renders templates with handlebars.js, with the helpers of the platform as its documentation describes them:
// `node oracle.cjs FOLDER` reads a JSON array of {template, context} from its standard input and prints an array of
// {text} or {error}. FOLDER holds node_modules with handlebars, d3-format and moment-timezone.
const path = require('node:path');
const folder = path.resolve(process.argv[2]);
const load = (name) => require(path.join(folder, 'node_modules', name));
const Handlebars = load('handlebars');
const moment = load('moment-timezone');
const d3 = load('d3-format');

const given = (values) => values.slice(0, -1);
const raw = (text) => new Handlebars.SafeString(text);
const isDate = (value) => value instanceof Date;

function comparison(compare) {
  return function (...values) {
    const options = values[values.length - 1];
    const answer = compare(...given(values));
    if (!options.fn) return answer;
    return answer ? options.fn(this) : options.inverse(this);
  };
}

function typeName(value) {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return isDate(value) ? 'date' : typeof value;
}

function includes(collection, value) {
  if (typeof collection === 'string' || Array.isArray(collection)) return collection.includes(value);
  return !!collection && typeof collection === 'object' && Object.values(collection).includes(value);
}

function dateIn(date, options) {
  const zone = options.hash.tz || 'UTC';
  return moment.tz.zone(zone) ? moment(date).tz(zone) : moment(date).utc();
}

function format(value, text) {
  if (isDate(value)) return moment(value).utc().format(text || 'L LTS');
  if (value !== null && typeof value === 'object') return JSON.stringify(value);
  const number = typeof value === 'number' || (typeof value === 'string' && value.trim() !== '' && !isNaN(value));
  if (!number) return value;
  return d3.format(text === undefined ? ',.6' : text)(Number(value));
}

// The mean radius of the Earth, in metres.
const EARTH = 6371000;
function gpsDistance(one, two) {
  const [a, b] = [one, two].map((point) => String(point).split(',').map((degrees) => (Number(degrees) * Math.PI) / 180));
  const half = (angle) => Math.sin(angle / 2) ** 2;
  const h = half(b[0] - a[0]) + Math.cos(a[0]) * Math.cos(b[0]) * half(b[1] - a[1]);
  return 2 * EARTH * Math.asin(Math.min(1, Math.sqrt(h)));
}

const text = (value) => (value === null || value === undefined ? '' : String(value));

const helpers = {
  eq: comparison((a, b) => a === b),
  ne: comparison((a, b) => a !== b),
  gt: comparison((a, b) => a > b),
  gte: comparison((a, b) => a >= b),
  lt: comparison((a, b) => a < b),
  lte: comparison((a, b) => a <= b),
  includes: comparison(includes),
  match: comparison((value, pattern) => {
    const parts = /^\/(.*)\/([a-z]*)$/s.exec(pattern);
    return (parts ? new RegExp(parts[1], parts[2].replace('g', '')) : new RegExp(pattern)).test(text(value));
  }),
  add: (a, b) => Number(a) + Number(b),
  subtract: (a, b) => Number(a) - Number(b),
  multiply: (a, b) => Number(a) * Number(b),
  divide: (a, b) => Number(a) / Number(b),
  lower: (value) => text(value).toLowerCase(),
  upper: (value) => text(value).toUpperCase(),
  trim: (value) => text(value).trim(),
  length: (value) => {
    if (typeof value === 'string' || Array.isArray(value)) return value.length;
    return value && typeof value === 'object' ? Object.keys(value).length : undefined;
  },
  join: (...values) => {
    const separator = values.length > 2 && values[1] !== undefined ? text(values[1]) : ',';
    return Array.isArray(values[0]) ? values[0].join(separator) : text(values[0]);
  },
  typeof: typeName,
  // Never escaped: a difference that the README names. In parentheses it would be an object, so no test has it there.
  jsonEncode: (...values) => {
    const json = JSON.stringify(values[0], null, values.length > 2 ? values[1] : undefined);
    return json === undefined ? undefined : raw(json);
  },
  jsonDecode: (value) => {
    try {
      return JSON.parse(value);
    } catch {
      return undefined;
    }
  },
  encodeBase64: (value) => raw(Buffer.from(text(value), 'utf8').toString('base64')),
  decodeBase64: (value) => Buffer.from(text(value), 'base64').toString('utf8'),
  encodeURI: (value) => raw(encodeURI(text(value))),
  encodeURIComponent: (value) => raw(encodeURIComponent(text(value))),
  format: (...values) => format(values[0], values.length > 2 ? values[1] : undefined),
  formatDate(...values) {
    const options = values[values.length - 1];
    return dateIn(values[0], options).format((values.length > 2 && values[1]) || 'L LTS');
  },
  formatDateRelative(...values) {
    const base = values.length > 2 ? values[1] : this.time ?? values[2];
    return moment(values[0]).from(moment(base));
  },
  gpsDistance,
  scaleLinear: (a, b, c, d, value) => Number(c) + ((Number(value) - Number(a)) / (Number(b) - Number(a))) * (Number(d) - Number(c)),
  obj: (options) => ({ ...options.hash }),
  array: (...values) => given(values),
  merge: (...values) => Object.assign({}, ...given(values)),
  indexByKey: (list, key, field) => list.findIndex((item) => item[typeof field === 'string' ? field : 'key'] === key),
  valueByKey: (list, key, field, member) => {
    const found = list.find((item) => item[typeof field === 'string' ? field : 'key'] === key);
    return found && found[typeof member === 'string' ? member : 'value'];
  },
};
Handlebars.registerHelper(helpers);

function render({ template, context, dates }) {
  try {
    for (const name of dates || []) context[name] = new Date(context[name]);
    return { text: Handlebars.compile(template)(context) };
  } catch (error) {
    return { error: String(error.message).split('\n').pop() };
  }
}

const chunks = [];
process.stdin.on('data', (chunk) => chunks.push(chunk));
process.stdin.on('end', () => {
  const cases = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  process.stdout.write(JSON.stringify(cases.map(render)));
});
